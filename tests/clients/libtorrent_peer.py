#!/usr/bin/env python3
"""A libtorrent session with one torrent, for the interop tests.

It prints `listening`, `seeding` once it has all, and `finished` once it has fetched all and written it. It ends when its
standard input does. With --create it makes a hybrid torrent file instead.
"""

import argparse
import os
import sys
import threading

import libtorrent as lt


def say(text):
    print(text, flush=True)


def end_with_input():
    sys.stdin.read()
    os._exit(0)


def settings(options):
    categories = lt.alert.category_t
    return {
        "listen_interfaces": options.listen,
        "alert_mask": categories.status_notification | categories.error_notification | categories.storage_notification,
        "enable_dht": False,
        "enable_lsd": False,
        "enable_natpmp": False,
        "enable_upnp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "allow_multiple_connections_per_ip": True,
    }


def parameters(options):
    is_magnet = options.source.startswith("magnet:")
    torrent = lt.parse_magnet_uri(options.source) if is_magnet else lt.load_torrent_file(options.source)
    torrent.save_path = options.folder
    torrent.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return torrent


def run(options):
    session = lt.session(settings(options))
    handle = session.add_torrent(parameters(options))
    for peer in options.peer:
        host, port = peer.rsplit(":", 1)
        handle.connect_peer((host, int(port)))
    fetched = False
    while True:
        session.wait_for_alert(60_000)
        for alert in session.pop_alerts():
            kind = alert.what()
            if kind == "listen_succeeded":
                say("listening")
            elif kind == "torrent_checked" and handle.status().is_seeding:
                say("seeding")
            elif kind == "torrent_finished" and handle.status().total_payload_download > 0:
                fetched = True
                handle.flush_cache()
            elif kind == "cache_flushed" and fetched:
                say("finished")
            elif alert.category() & lt.alert.category_t.error_notification:
                say(f"{kind}: {alert.message()}")


def create(content, file):
    files = lt.list_files(content)
    torrent = lt.create_torrent(files, 32 * 1024)
    lt.set_piece_hashes(torrent, os.path.dirname(os.path.abspath(content)))
    with open(file, "wb") as out:
        out.write(lt.bencode(torrent.generate()))


def main():
    if sys.argv[1] == "--create":
        return create(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, help="address:port")
    parser.add_argument("--folder", required=True, help="where the files are, or come")
    parser.add_argument("--peer", action="append", default=[], help="address:port to connect to")
    parser.add_argument("source", help="torrent file or magnet link")
    threading.Thread(target=end_with_input, daemon=True).start()
    run(parser.parse_args())


main()
