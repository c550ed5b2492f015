# SPDX-License-Identifier: Apache-2.0
# A WebSocket server that sends back each message, and a client that says what it saw (RFC 6455), with nothing but
# Python's own library.
# usage: websocket.py server ADDRESS PORT | websocket.py client ADDRESS PORT client|server  (who closes)
import base64
import hashlib
import os
import random
import socket
import struct
import sys
import threading

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1000000]


def accept_of(key):
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


class End:
    def __init__(self, sock, masks):
        self.sock, self.masks, self.bytes = sock, masks, sock.makefile("rb")

    def head(self):
        lines = []
        while line := self.bytes.readline().decode().rstrip("\r\n"):
            lines.append(line)
        fields = dict(line.lower().split(": ", 1) if "key" not in line.lower() and "accept" not in line.lower()
                      else (line.split(": ", 1)[0].lower(), line.split(": ", 1)[1]) for line in lines[1:])
        return lines[0], fields

    def exactly(self, size):
        data = self.bytes.read(size)
        if len(data) != size:
            raise EOFError(f"{len(data)} bytes of {size}")
        return data

    def frame(self):
        first, second = self.exactly(2)
        size = second & 127
        if size >= 126:
            size = struct.unpack("!H" if size == 126 else "!Q", self.exactly(2 if size == 126 else 8))[0]
        assert bool(second & 128) != self.masks, "only clients mask"
        mask = self.exactly(4) if second & 128 else b"\0\0\0\0"
        data = self.exactly(size)
        if second & 128:
            key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            data = (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")
        return first >> 7, first & 15, data

    def send(self, kind, data, final=True):
        size = len(data)
        length = size if size < 126 else 126 if size < 65536 else 127
        head = struct.pack("!BB", (128 if final else 0) | kind, length | (128 if self.masks else 0))
        head += b"" if size < 126 else struct.pack("!H" if size < 65536 else "!Q", size)
        if self.masks:
            mask = os.urandom(4)
            key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            data = (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")
            head += mask
        self.sock.sendall(head + data)

    def message(self):  # pings are answered on the way
        kind, whole = None, b""
        while True:
            final, opcode, data = self.frame()
            if opcode == PING:
                self.send(PONG, data)
                continue
            if opcode in (CLOSE, PONG):
                return opcode, data
            kind, whole = kind or opcode, whole + data
            if final:
                return kind, whole


def serve(sock):
    end = End(sock, masks=False)
    line, fields = end.head()
    if not fields:
        return
    sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Accept: {accept_of(fields['sec-websocket-key'])}\r\n\r\n").encode())
    end.send(PING, b"are you there?")
    while True:
        kind, data = end.message()
        if kind == CLOSE or data == b"close":
            end.send(CLOSE, data if kind == CLOSE else struct.pack("!H", 1000))
            if kind != CLOSE:
                end.message()
            return sock.close()
        if kind != PONG:
            end.send(kind, data)


def client(address, port, closer):
    sock = socket.create_connection((address, port), timeout=20)
    end = End(sock, masks=True)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall((f"GET /chat HTTP/1.1\r\nHost: {address}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    line, fields = end.head()
    assert line.split(" ")[1] == "101" and fields["sec-websocket-accept"] == accept_of(key), (line, fields)
    dice = random.Random(1)
    for size in SIZES:
        data = dice.randbytes(size)
        end.send(BINARY, data)
        assert end.message() == (BINARY, data), size
    for piece, final in ((b"one ", False), (b"two ", False), (b"three", True)):
        end.send(TEXT if piece == b"one " else 0, piece, final)
    assert end.message() == (TEXT, b"one two three")
    end.send(PING, b"and you?")
    assert end.message() == (PONG, b"and you?")
    print("echoed", SIZES)
    end.send(CLOSE, struct.pack("!H", 1000)) if closer == "client" else end.send(TEXT, b"close")
    kind, data = end.message()
    assert kind == CLOSE, kind
    if closer == "server":
        end.send(CLOSE, data)
    assert end.bytes.read() == b"", "bytes after the close"
    print("closed by", closer, struct.unpack("!H", data)[0])


if sys.argv[1] == "server":
    listener = socket.create_server((sys.argv[2], int(sys.argv[3])))
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
else:
    client(sys.argv[2], int(sys.argv[3]), sys.argv[4])
