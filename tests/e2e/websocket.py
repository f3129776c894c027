"""A WebSocket client for tests: text frames both ways, by hand (RFC 6455), so that no package is needed."""
import base64
import json
import os
import socket
import struct


class WebSocket:
    def __init__(self, host, port, path, protocol=None, timeout=120):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.rest = b""
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                 f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.rest += data

    def _take(self, count):
        while len(self.rest) < count:
            self._more()
        out, self.rest = self.rest[:count], self.rest[count:]
        return out

    def _frame(self, opcode, payload):
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack(">H", length) if length < 65536 else b"\xff" + struct.pack(">Q", length)
        mask = os.urandom(4)
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def send(self, message):
        self._frame(1, json.dumps(message).encode())

    def receive(self):
        """The next JSON message; answers pings in between."""
        text = b""
        while True:
            first, second = self._take(2)
            length = second & 0x7F
            if length == 126:
                length, = struct.unpack(">H", self._take(2))
            elif length == 127:
                length, = struct.unpack(">Q", self._take(8))
            payload = self._take(length)
            opcode = first & 0x0F
            if opcode == 9:
                self._frame(10, payload)
            elif opcode == 8:
                raise ConnectionError(f"closed by the server: {payload!r}")
            elif opcode in (0, 1):
                text += payload
                if first & 0x80:
                    return json.loads(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
