"""The smallest thing to run in a sandbox: says where it is, and that it can reach nothing."""

import os
import platform
import socket

print(f"Hello from {platform.python_implementation()} {platform.python_version()} as {os.environ.get('USER', 'user')} (uid {os.getuid()}).")
print(f"Processes that I can see: {sum(name.isdigit() for name in os.listdir('/proc'))}.")
try:
    socket.create_connection(("1.1.1.1", 53), timeout=2)
    print("The network is open.")
except OSError as error:
    print(f"The network is closed: {error.strerror or error}.")
