// Draws the Mandelbrot set on all peers: each computes tiles, and its tiles have a colour of its own. See --help.
#include "progress.hpp"

#include <covey/covey.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mandelbrot {

/// A rectangle of the picture. Plain structs travel as they are.
struct tile {
    std::uint32_t x = 0, y = 0, width = 0, height = 0;  // pixels
    std::uint32_t picture_width = 0, picture_height = 0;
    std::uint32_t iterations = 0;
};

struct computed_tile {
    std::uint64_t peer = 0;             ///< the id of the peer that computed it
    std::vector<std::uint16_t> escape;  ///< for each pixel, row by row, after how many steps it escaped; 0: it did not
};

/// What the peers run. The view is 3.2 wide around -0.7, pixels are square.
computed_tile compute(covey::context& ctx, const tile& t) {
    computed_tile result{ctx.self().value, {}};
    result.escape.reserve(std::size_t{t.width} * t.height);
    const double step = 3.2 / t.picture_width;
    for (std::uint32_t j = t.y; j < t.y + t.height; ++j) {
        const double ci = (static_cast<double>(j) - t.picture_height / 2.0) * step;
        for (std::uint32_t i = t.x; i < t.x + t.width; ++i) {
            const double cr = -0.7 + (static_cast<double>(i) - t.picture_width / 2.0) * step;
            double zr = 0;
            double zi = 0;
            std::uint32_t n = 0;
            while (n < t.iterations && zr * zr + zi * zi <= 4) {
                const double next = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = next;
                ++n;
            }
            result.escape.push_back(static_cast<std::uint16_t>(n == t.iterations ? 0 : n));
        }
    }
    return result;
}

}  // namespace mandelbrot

template struct covey::expose<mandelbrot::compute>;

namespace {

using namespace mandelbrot;

constexpr std::uint32_t tile_side = 64;
constexpr std::uint32_t side_max = 16384;
constexpr std::uint32_t iterations_max = 65535;

constexpr const char* help =
    "usage: mandelbrot [--size WxH] [--iterations N] [-o FILE]\n"
    "\n"
    "Draws the Mandelbrot set on all peers (peerd run -n 4 mandelbrot) into a PPM picture, each tile in the colour of the peer\n"
    "that computed it.\n"
    "\n"
    "  --size WxH      pixels (1024x768), at most 16384x16384\n"
    "  --iterations N  steps after which a point counts as inside (1000), at most 65535\n"
    "  -o FILE         where to (mandelbrot.ppm)\n";

struct options {
    std::uint32_t width = 1024;
    std::uint32_t height = 768;
    std::uint32_t iterations = 1000;
    std::string out = "mandelbrot.ppm";
};

std::uint32_t number(std::string_view text, std::uint32_t largest, const std::string& option) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value == 0 || value > largest) {
        throw std::invalid_argument(option + ": \"" + std::string(text) + "\" is no number from 1 to " + std::to_string(largest));
    }
    return value;
}

options parse(std::span<const std::string> args) {
    options o;
    for (std::size_t i = 1; i < args.size(); ++i) {
        const std::string& arg = args[i];
        if (arg != "--size" && arg != "--iterations" && arg != "-o")
            throw std::invalid_argument("unknown option " + arg + "; --help tells more");
        if (i + 1 == args.size()) throw std::invalid_argument(arg + " needs a value");
        const std::string& value = args[++i];
        if (arg == "-o") {
            o.out = value;
        } else if (arg == "--iterations") {
            o.iterations = number(value, iterations_max, arg);
        } else {
            const std::size_t cross = value.find('x');
            if (cross == std::string::npos) throw std::invalid_argument("--size needs WxH, as 1024x768");
            o.width = number(std::string_view(value).substr(0, cross), side_max, arg);
            o.height = number(std::string_view(value).substr(cross + 1), side_max, arg);
        }
    }
    return o;
}

std::vector<tile> make_tiles(const options& o) {
    std::vector<tile> tiles;
    for (std::uint32_t y = 0; y < o.height; y += tile_side) {
        for (std::uint32_t x = 0; x < o.width; x += tile_side) {
            tiles.push_back({x, y, std::min(tile_side, o.width - x), std::min(tile_side, o.height - y), o.width, o.height, o.iterations});
        }
    }
    return tiles;
}

using colour = std::array<unsigned char, 3>;

/// A colour of the wheel: hue from 0 to 1, brightness from 0 to 1.
colour colour_of(double hue, double brightness) {
    colour result{};
    for (std::size_t i = 0; i < 3; ++i) {
        const double position = std::fmod(hue * 6 + (i == 0 ? 0 : i == 1 ? 4 : 2), 6.0);
        const double part = std::clamp(std::abs(position - 3) - 1, 0.0, 1.0);
        result[i] = static_cast<unsigned char>(255 * brightness * (0.25 + 0.75 * part));
    }
    return result;
}

/// Numbers the peers in the order in which they first appear in the picture.
class legend {
public:
    std::size_t index(std::uint64_t peer) {
        const auto [place, is_new] = m_index.try_emplace(peer, m_tiles.size());
        if (is_new) m_tiles.push_back({peer, 0});
        return place->second;
    }
    void count(std::uint64_t peer) { ++m_tiles[index(peer)].second; }
    /// Hues as far apart as they can be, whatever their number (steps of the golden ratio).
    static double hue(std::size_t index) { return std::fmod(0.6 + 0.6180339887 * static_cast<double>(index), 1.0); }
    const std::vector<std::pair<std::uint64_t, std::size_t>>& tiles() const { return m_tiles; }

private:
    std::map<std::uint64_t, std::size_t> m_index;
    std::vector<std::pair<std::uint64_t, std::size_t>> m_tiles;
};

/// Row by row, three bytes a pixel.
std::vector<unsigned char> paint(const options& o, const std::vector<tile>& tiles, const std::vector<computed_tile>& computed,
                                 legend& peers) {
    std::vector<unsigned char> pixels(std::size_t{o.width} * o.height * 3);
    for (std::size_t k = 0; k < tiles.size(); ++k) {
        const tile& t = tiles[k];
        if (computed[k].escape.size() != std::size_t{t.width} * t.height) throw std::runtime_error("a tile came back with another size");
        peers.count(computed[k].peer);
        const double hue = legend::hue(peers.index(computed[k].peer));
        for (std::size_t i = 0; i < computed[k].escape.size(); ++i) {
            const std::uint16_t n = computed[k].escape[i];
            // Logarithmic, for most of the picture escapes after few steps.
            const double brightness = n == 0 ? 0.06 : 0.2 + 0.8 * std::log(1.0 + n) / std::log(1.0 + o.iterations);
            const colour c = colour_of(hue, brightness);
            const std::size_t x = t.x + i % t.width;
            const std::size_t y = t.y + i / t.width;
            std::copy(c.begin(), c.end(), pixels.begin() + static_cast<std::ptrdiff_t>((y * o.width + x) * 3));
        }
    }
    return pixels;
}

void write_ppm(const options& o, const std::vector<unsigned char>& pixels) {
    std::FILE* out = std::fopen(o.out.c_str(), "wb");
    bool written = out != nullptr && std::fprintf(out, "P6\n%u %u\n255\n", o.width, o.height) > 0;
    written = written && std::fwrite(pixels.data(), 1, pixels.size(), out) == pixels.size();
    if (out != nullptr && std::fclose(out) != 0) written = false;
    if (!written) throw std::runtime_error(o.out + " cannot be written: " + std::strerror(errno));
}

covey::task<void> draw(covey::peer& self, const options& o) {
    const auto begin = std::chrono::steady_clock::now();
    std::map<std::uint64_t, std::string> names;
    for (const covey::member& m : self.members()) names[m.id().value] = m.name();

    const std::vector<tile> tiles = make_tiles(o);
    std::vector<computed_tile> computed;
    {
        progress bar(tiles.size(), "");
        std::atomic<std::size_t> done{0};
        auto work = covey::map(tiles, compute, {.retries = 10, .done = &done});
        auto first = co_await covey::when_any(bar.follow(done), std::move(work));
        computed = std::get<1>(std::move(first));
    }
    legend peers;
    write_ppm(o, paint(o, tiles, computed, peers));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;

    std::printf("%s: %ux%u, %zu tiles, %u iterations, in %.2f s\n", o.out.c_str(), o.width, o.height, tiles.size(), o.iterations,
                took.count());
    for (const auto& [peer, count] : peers.tiles()) {
        const auto found = names.find(peer);
        const std::string name = found != names.end() ? found->second : covey::to_string(covey::peer_id{peer});
        const colour c = colour_of(legend::hue(peers.index(peer)), 1);
        std::printf("  #%02x%02x%02x  %-20s %zu tiles\n", c[0], c[1], c[2], name.c_str(), count);
    }
}

covey::task<int> run(covey::peer& self) {
    try {
        const options o = parse(self.args());
        co_await draw(self, o);
        co_return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "mandelbrot: %s\n", e.what());
        co_return 1;
    }
}

}  // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        if (std::string_view(argv[i]) == "--help" || std::string_view(argv[i]) == "-h") {
            std::fputs(help, stdout);
            return 0;
        }
    }
    return covey::run(argc, argv, run);
}
