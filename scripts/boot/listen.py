"""Listens on TCP ports until its standard input ends; says which of them it can't have, and why.

Usage: listen.py PORT...
"""

import selectors
import socket
import sys

LONGEST = 120  # seconds, in case nobody ends it

waiting = selectors.DefaultSelector()
waiting.register(sys.stdin, selectors.EVENT_READ)
for port in map(int, sys.argv[1:]):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("", port))
        listener.listen(256)
    except OSError as error:
        print(f"{port}={error.strerror}")
        continue
    waiting.register(listener, selectors.EVENT_READ)
print("ready", flush=True)
ended = False
while not ended and (events := waiting.select(LONGEST)):
    for key, _ in events:
        if key.fileobj is sys.stdin:
            ended = True
        else:
            key.fileobj.accept()[0].close()
