#!/usr/bin/env python3
"""What plugins cost: a download with 0, 1 and 8 plugins that have every hook, and a plugin replaced while 20 peers send.

reef fetches the same file from reef over loopback TCP, in turns. For each run the whole process's CPU time (user and system)
is taken; medians are printed. Then a limited download from 20 peers has its plugin replaced again and again: how
long the session was held up, and whether a connection was lost.

    cargo build --release && cargo build --release -p every-hook-plugin
    python3 tests/compare/plugins.py [--mib 1024] [--rounds 5]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

MIB = 1 << 20
NAME = b"every_hook"
MARK = b"\x7freef-plugin-v1\n"


def write_plugin(source, folder, name, version):
    """The plugin under another name and as another version: both stand in its manifest."""
    code = bytearray(open(source, "rb").read())
    at = next(m.start() for m in re.finditer(re.escape(MARK), code) if code[m.start() + 32:].startswith(NAME + b"\0")) + 32
    code[at:at + 64] = name.encode().ljust(64, b"\0")
    own = code.index(b"0.1.0", at, at + 224)
    code[own:own + 5] = version.encode()
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/lib{name}.so", "wb") as out:
        out.write(code)


def start(command, env, **how):
    return subprocess.Popen(command, env=env, text=True, **how)


def wait_for_cost(child):
    """Waits for a process: its CPU seconds."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{child.args} failed with {child.returncode}")
    return usage.ru_utime + usage.ru_stime


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.env = dict(os.environ, HOME=folder, XDG_STATE_HOME=f"{folder}/state", XDG_CONFIG_HOME=f"{folder}/config",
                        XDG_CACHE_HOME=f"{folder}/cache")
        os.makedirs(f"{folder}/seed")
        with open(f"{folder}/seed/data.bin", "wb") as out:
            for _ in range(options.mib):
                out.write(os.urandom(MIB))
        self.torrent = f"{folder}/data.torrent"
        subprocess.run([options.reef, "create", f"{folder}/seed/data.bin", "-o", self.torrent, "--piece-length", "1MiB", "-q"],
                       env=self.env, check=True)

    def seed(self, number):
        """A process that serves, and its address."""
        address = f"127.0.0.{10 + number}:6910"
        env = dict(self.env, XDG_STATE_HOME=f"{self.folder}/seed-{number}")
        child = start([self.options.reef, "seed", self.torrent, f"{self.folder}/seed", "--listen", address, "--json"], env,
                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in child.stdout:
            if json.loads(line)["event"] == "torrent_checked":
                return child, address
        sys.exit(f"the seed at {address} did not start")

    def get(self, peers, plugins, *more):
        shutil.rmtree(f"{self.folder}/in", ignore_errors=True)
        shutil.rmtree(f"{self.folder}/state", ignore_errors=True)
        command = [self.options.reef, "get", self.torrent, "-o", f"{self.folder}/in", "--listen", "127.0.0.3:0",
                   "--plugin-dir", plugins, *more]
        for peer in peers:
            command += ["--peer", peer]
        return command

    def assert_same(self):
        if subprocess.run(["cmp", f"{self.folder}/seed/data.bin", f"{self.folder}/in/data.bin"]).returncode != 0:
            sys.exit("the files differ")

    def plugins(self, count):
        folder = f"{self.folder}/plugins-{count}"
        os.makedirs(folder, exist_ok=True)
        for number in range(count):
            write_plugin(self.options.plugin, folder, f"every_{number}", "0.1.0")
        return folder

    def cost(self):
        seed, address = self.seed(0)
        counts = [0, 1, 8]
        costs = {count: [] for count in counts}
        for number in range(self.options.rounds + 1):
            for count in counts:
                child = start(self.get([address], self.plugins(count), "-q"), self.env)
                cost = wait_for_cost(child) * 1024 / self.options.mib
                self.assert_same()
                # The first round warms the page cache and is not counted.
                if number > 0:
                    costs[count].append(cost)
                    print(f"round {number}  {count} plugins {cost:6.3f} CPU s/GiB", flush=True)
        seed.terminate()
        seed.wait()
        for count in counts:
            median = statistics.median(costs[count])
            print(f"median   {count} plugins {median:6.3f} CPU s/GiB, {median / statistics.median(costs[0]):.3f} of none")

    def replace(self):
        """A download slow enough to be there for every replacement."""
        seeds = [self.seed(number) for number in range(20)]
        folder = f"{self.folder}/plugins-swap"
        write_plugin(self.options.plugin, folder, "every_hook", "0.1.0")
        limit = str(self.options.mib * MIB // 12)
        command = self.get([address for _, address in seeds], folder, "--json", "--watch-plugins", "--download-limit", limit)
        with open(f"{self.folder}/log", "w") as log:
            child = start(command, dict(self.env, RUST_LOG="reef::session=debug"), stdout=subprocess.PIPE, stderr=log)
            lost, connected, version, generation, pieces = 0, 0, 0, None, 0
            for line in child.stdout:
                event = json.loads(line)
                kind = event["event"]
                pieces += kind == "piece_finished"
                connected += kind == "peer_connected"
                # Seeds close as soon as they hear of the last piece.
                lost += kind == "peer_disconnected" and pieces < self.options.mib
                if event.get("what") == "generation":
                    generation = event["message"]
                if kind == "status" and connected >= 20 and event["progress"] < 0.8:
                    version += 1
                    write_plugin(self.options.plugin, folder, "every_hook", f"0.{version % 10}.{version // 10 + 1}")
        if child.wait() != 0:
            sys.exit(open(f"{self.folder}/log").read())
        self.assert_same()
        held_up = re.findall(r"by a change of its plugins for ([\d.]+)(ms|µs)", open(f"{self.folder}/log").read())
        times = [float(number) / (1 if unit == "ms" else 1000) for number, unit in held_up]
        print(f"replaced {len(times)} times with {connected} peers: held up for {statistics.median(times):.2f} ms, at most"
              f" {max(times):.2f} ms; connections lost: {lost}; state carried over: {generation}")
        for seed, _ in seeds:
            seed.terminate()
            seed.wait()
        if lost or not times:
            sys.exit(1)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.environ.get("CARGO_TARGET_DIR", f"{here}/../../target")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5, help="measured runs of each")
    parser.add_argument("--reef", default=f"{target}/release/reef", help="the program")
    parser.add_argument("--plugin", default=f"{target}/release/libevery_hook_plugin.so", help="the plugin")
    options = parser.parse_args()
    for path in (options.reef, options.plugin):
        if not os.path.exists(path):
            sys.exit(f"{path}: not there; build it as the first lines of this file say")
    with tempfile.TemporaryDirectory(prefix="reef-plugins-") as folder:
        bench = Bench(options, folder)
        bench.cost()
        bench.replace()


if __name__ == "__main__":
    main()
