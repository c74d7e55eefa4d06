// expect: covey: this type cannot be sent to another peer: give it a cereal serialize\(\)
#include <covey/wire/codec.hpp>

class opaque {
public:
    explicit opaque(int value) : m_value(value) {}
    int value() const { return m_value; }

private:
    int m_value;
};

void send(covey::byte_buffer& out, const opaque& value) { covey::wire::encode(out, value); }
