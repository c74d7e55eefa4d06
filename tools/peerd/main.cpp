// peerd: starts the processes of a job, keeps a machine in a mesh, looks at a mesh, makes and exchanges keys.
#include <peerd/calls.hpp>
#include <peerd/job.hpp>
#include <peerd/keys.hpp>
#include <peerd/mesh.hpp>

#include <covey/core/config.hpp>
#include <covey/core/error.hpp>
#include <covey/net/key.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace {

/// As most programs have it for a command line that cannot be meant.
constexpr int usage_error = 2;

constexpr const char* examples = R"(examples:
  peerd run -n 4 ./app --its options     four processes of ./app on this machine, one mesh
  peerd keygen cluster.key               a key, to be copied to every machine of a cluster
  peerd up --bind 10.0.0.1:7400 --key-file cluster.key
                                         this machine's member, until Ctrl-C
  peerd up --bind 10.0.0.2:7400 --join 10.0.0.1:7400 --key-file cluster.key
                                         on a second machine
  peerd members --address 10.0.0.1:7400 --key-file cluster.key
                                         who is there; with --json for programs
  peerd calls --address 10.0.0.1:7400 --key-file cluster.key
                                         the functions that it called and served
  peerd keys list --address 10.0.0.1:7400 --key-file cluster.key
                                         who has which keys; see also keys install, use, remove)";

void add_mesh_options(CLI::App& command, peerd::mesh_options& options) {
    command.add_option("--key-file", options.key_file, "The cluster's key; needed where an address is not a loopback one")
        ->envname("COVEY_KEY_FILE")
        ->type_name("FILE");
    command.add_option("--cluster", options.cluster, "The cluster's name")
        ->envname("COVEY_CLUSTER")
        ->type_name("NAME")
        ->capture_default_str();
}

int keygen(const std::string& path) {
    const covey::net::cluster_key key = covey::net::cluster_key::generate();
    key.save(path);
    std::printf("wrote a new key, %s, to %s; copy it to every machine of the cluster, readable by its owner alone\n",
                covey::net::to_string(key.fingerprint()).c_str(), path.c_str());
    return 0;
}

int run(int argc, char** argv) {
    CLI::App app{"peerd starts covey programs as meshes of processes and looks after meshes."};
    app.name("peerd");
    app.footer(examples);
    app.set_version_flag("--version", "peerd " COVEY_VERSION);
    app.require_subcommand(1);

    peerd::job_options job;
    CLI::App* run = app.add_subcommand("run", "Start a program as several processes of one mesh on this machine");
    run->footer(
        "What follows the options is the program and its arguments: peerd run -n 4 ./app --its options\n"
        "The main process (number 0) has the terminal; the lines of the others come with their number in front: \"[2] ...\".\n"
        "The exit code is that of the main process, or 128 + the signal that ended it. Ctrl-C ends all; a second one kills them.");
    run->prefix_command();
    run->add_option("-n,--peers", job.peers, "How many processes")->check(CLI::Range(1, 1024))->type_name("N")->capture_default_str();
    run->add_option("--threads", job.threads, "Threads of each (default: COVEY_THREADS, else the CPUs shared out evenly)")
        ->check(CLI::Range(1, 1024))
        ->type_name("N");
    run->add_option("--key-file", job.key_file, "The key that they prove to each other (default: COVEY_KEY_FILE, else none)")
        ->type_name("FILE");
    run->add_option("--ready-limit", job.ready_limit_s, "Seconds that the main process has until it listens")
        ->check(CLI::Range(1, 3600))
        ->type_name("S")
        ->capture_default_str();

    peerd::mesh_options mesh;
    CLI::App* up = app.add_subcommand("up", "Be a member of a mesh until SIGINT or SIGTERM: a machine's rendezvous");
    up->add_option("--bind", mesh.address, "Address and port to listen on")->type_name("ADDRESS:PORT")->capture_default_str();
    up->add_option("--join", mesh.join, "A member of the mesh to join; may be given several times")->type_name("HOST:PORT")->delimiter(',');
    up->add_option("--name", mesh.name, "This member's name, for people")->type_name("NAME");
    up->add_option("--label", mesh.labels, "A label that programs choose members by; may be given several times")
        ->type_name("NAME=VALUE")
        ->delimiter(',')
        ->envname("COVEY_LABELS");
    up->add_option("--resource", mesh.resources, "How many of something this machine has; may be given several times")
        ->type_name("NAME=COUNT")
        ->delimiter(',')
        ->envname("COVEY_RESOURCES");
    up->add_option("--gpus", mesh.gpus, "How many GPUs it offers")->check(CLI::Range(0, 65535))->type_name("N")->envname("COVEY_GPUS");
    up->add_option("--memory-mib", mesh.memory_mib, "How much memory it offers")->type_name("N")->envname("COVEY_MEMORY_MIB");
    up->add_option("--profile", mesh.profile, "Numbers of the membership: local, lan or wan (default: local on loopback, else lan)")
        ->type_name("PROFILE")
        ->envname("COVEY_PROFILE");
    up->add_option("--set", mesh.settings, "A single one, as probe_interval=200ms; may be given several times; see peerd settings")
        ->type_name("SETTING=VALUE")
        ->delimiter(',')
        ->envname("COVEY_MEMBERSHIP");
    add_mesh_options(*up, mesh);

    CLI::App* members = app.add_subcommand("members", "List the members that a member knows, as it sees them");
    members->footer(
        "LOAD: workers, queue, memory and GPUs, each from 0 (idle) to 15. STATE: also flaky (it keeps going away and coming back: no\n"
        "placement) and unreachable (datagrams between it and the member asked do not pass).");
    members->add_option("--address", mesh.address, "The member to ask")->type_name("HOST:PORT")->capture_default_str();
    members->add_flag("--json", mesh.json, "For programs: a JSON array");
    add_mesh_options(*members, mesh);

    CLI::App* calls =
        app.add_subcommand("calls", "List the functions that a member called and served: how often, how long, with which errors");
    calls->add_option("--address", mesh.address, "The member to ask")->type_name("HOST:PORT")->capture_default_str();
    calls->add_flag("--json", mesh.json, "For programs: a JSON object");
    add_mesh_options(*calls, mesh);

    CLI::App* trace =
        app.add_subcommand("trace", "Print the calls that the members of a mesh have kept (COVEY_TRACE), as JSON for Perfetto");
    trace->add_option("--address", mesh.address, "A member of the mesh")->type_name("HOST:PORT")->capture_default_str();
    add_mesh_options(*trace, mesh);

    using covey::mesh::key_operation;
    CLI::App* keys = app.add_subcommand("keys", "List or exchange the keys of a running mesh: install, use, remove");
    keys->require_subcommand(1);
    keys->footer(
        "To exchange a key: peerd keygen NEW; peerd keys install NEW; put NEW in front in every key file; peerd keys use ITS-FINGERPRINT;\n"
        "peerd keys remove THE-OLD-ONES. Each step may be repeated; one that would cut members off is refused.");
    std::string changed_key;
    std::vector<std::pair<CLI::App*, key_operation>> on_keys;
    const auto add_keys = [&](key_operation what, const char* name, const char* help, const char* argument, const char* argument_help) {
        CLI::App* const command = keys->add_subcommand(name, help);
        if (argument != nullptr) command->add_option(argument, changed_key, argument_help)->required();
        command->add_option("--address", mesh.address, "A member of the mesh")->type_name("HOST:PORT")->capture_default_str();
        command->add_flag("--json", mesh.json, "For programs: a JSON array");
        add_mesh_options(*command, mesh);
        on_keys.emplace_back(command, what);
    };
    const char* const fingerprint = "As list shows it, 8 hex digits";
    add_keys(key_operation::list, "list", "Which member has which keys", nullptr, nullptr);
    add_keys(key_operation::install, "install", "Let every member open what a new key seals", "FILE", "The new key, made by peerd keygen");
    add_keys(key_operation::use, "use", "Let every member seal with an installed key", "FINGERPRINT", fingerprint);
    add_keys(key_operation::remove, "remove", "Let no member open what an old key seals", "FINGERPRINT", fingerprint);

    CLI::App* settings = app.add_subcommand("settings", "List what can be set of the membership, and the profiles");

    std::string key_path;
    CLI::App* key = app.add_subcommand("keygen", "Write a new cluster key into a new file that only its owner can read");
    key->add_option("FILE", key_path, "Where to; must not exist")->required();

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : usage_error;
    }
    if (run->parsed()) {
        job.argv = run->remaining();
        if (!job.argv.empty() && job.argv[0] == "--") job.argv.erase(job.argv.begin());
        if (job.argv.empty() || job.argv[0].empty() || job.argv[0][0] == '-') {
            std::fprintf(stderr, "peerd: %s; usage: peerd run [-n N] PROGRAM [ARGUMENTS] (--help tells more)\n",
                         job.argv.empty() || job.argv[0].empty() ? "no program to run" : ("unknown option " + job.argv[0]).c_str());
            return usage_error;
        }
        return peerd::run_job(job);
    }
    if (up->parsed()) return peerd::run_up(mesh);
    if (members->parsed()) return peerd::run_members(mesh);
    if (calls->parsed()) return peerd::run_calls(mesh);
    if (trace->parsed()) return peerd::run_trace(mesh);
    if (settings->parsed()) return peerd::run_settings();
    for (const auto& [command, what] : on_keys) {
        if (command->parsed()) return peerd::run_keys(mesh, what, changed_key);
    }
    return keygen(key_path);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "peerd: %s\n", e.what());
        return 1;
    }
}
