"""
A whole OpenStack Swift in one process, which speaks S3 by its s3api on loopback, checks signatures and refuses
`aws-chunked`: python3 s3-server.py FOLDER ACCESS_KEY SECRET. Says its port as a line and ends with its standard input.
"""

import os
import sys
import time

from swift.common import utils

utils.eventlet_monkey_patch()

import eventlet  # noqa: E402
from eventlet import hubs, wsgi  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

STORES = ("account", "container", "object")
STORE = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY = """
[DEFAULT]
swift_dir = {folder}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
client_timeout = 600
node_timeout = 120
recoverable_node_timeout = 120
conn_timeout = 60
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""


class NoCache:
    """Swift asks for a cache; one that forgets everything is never wrong."""

    def get(self, *_, **__):
        return None

    def set(self, *_, **__):
        pass

    delete = incr = decr = set


def main(folder, access_key, secret):
    os.environ["TZ"] = "UTC+0"
    time.tzset()
    os.makedirs(f"{folder}/devices/d1")
    write(f"{folder}/swift.conf", "[swift-hash]\nswift_hash_path_suffix = cleanroom\n")
    utils.set_swift_dir(folder)
    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in STORES}
    for kind, socket in sockets.items():
        make_ring(folder, kind, socket.getsockname()[1])
        write(f"{folder}/{kind}.conf", STORE.format(folder=folder, kind=kind))
    write(f"{folder}/proxy.conf", PROXY.format(folder=folder, user=access_key.replace(":", "_"), secret=secret))
    for kind, socket in sockets.items():
        serve(socket, f"{folder}/{kind}.conf", kind)
    door = eventlet.listen(("127.0.0.1", 0))
    serve(door, f"{folder}/proxy.conf", "proxy")
    print(door.getsockname()[1], flush=True)
    hubs.trampoline(sys.stdin.fileno(), read=True)
    os._exit(0)


def make_ring(folder, kind, port):
    builder = RingBuilder(1, 1, 1)
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": port, "device": "d1"}
    builder.add_dev({**device, "replication_ip": "127.0.0.1", "replication_port": port, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")


def serve(socket, conf, name):
    app = loadapp(conf, global_conf={"log_name": name})
    cache = NoCache()

    def served(env, start):
        env["swift.cache"] = cache
        return app(env, start)

    logger = utils.NullLogger()
    eventlet.spawn(wsgi.server, socket, served, logger, protocol=SwiftHttpProtocol, capitalize_response_headers=False)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


main(*sys.argv[1:])
