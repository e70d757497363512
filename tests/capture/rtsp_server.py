"""A real RTSP camera for the tests: GStreamer's server, run by the system's Python, which has its bindings.

    /usr/bin/python3 rtsp_server.py --port 0 --mount live --mount other

Prints the port once it listens. Every picture says when it was shot: sixteen blocks, black or white, are the number
`floor(time.monotonic() * fps)` in binary, lowest bit first. A server that is started anew goes on counting, so that a
test can tell to the frame what was lost, and how late a picture is. Kill it, stop and continue it: it is a process.
"""

# mypy: ignore-errors
# (the bindings are the system's, which knows no types of them)

import argparse
import signal
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

BLOCKS = 16
NS = 1_000_000_000


def picture(number, width, height):
    """Grey bytes (height, width) whose blocks say the number."""
    row = b"".join((b"\xff" if number >> (column * BLOCKS // width) & 1 else b"\x00") for column in range(width))
    return row * height


def caps(options):
    """What the pictures are, as GStreamer says it."""
    size = f"width={options.width},height={options.height}"
    return Gst.Caps.from_string(f"video/x-raw,format=GRAY8,{size},framerate={options.fps}/1")


def grow(options):
    """Twice as wide and high from now on."""
    options.width, options.height = 2 * options.width, 2 * options.height
    return True


class Feed:
    """Pushes a picture for each tick of the monotonic clock into one media's appsrc."""

    def __init__(self, source, options):
        self._source, self._options, self._fps = source, options, options.fps
        self._width = options.width
        fps = self._fps
        self._first = self._last = int(time.monotonic() * fps)
        self._tick()
        self._timer = GLib.timeout_add(max(1, int(250 / fps)), self._tick)

    def end(self, *_):
        if self._timer:
            GLib.source_remove(self._timer)
            self._timer = 0

    def _tick(self):
        now = int(time.monotonic() * self._fps)
        for number in range(max(self._last, now - 4) + 1, now + 1):  # what was missed while we were stopped is gone
            if self._width != self._options.width:
                self._width = self._options.width
                self._source.set_property("caps", caps(self._options))
            buffer = Gst.Buffer.new_wrapped(picture(number, self._width, self._options.height))
            buffer.pts = int((number - self._first) * NS / self._fps)
            buffer.duration = int(NS / self._fps)
            self._source.emit("push-buffer", buffer)
            self._last = number
        return True


def spoil(pad, information, options):
    """Packets on their way: now and then one is overtaken by two others; after SIGUSR2 their clock is another."""
    if options.passing:
        return Gst.PadProbeReturn.OK
    packet = information.get_buffer()
    data = bytearray(packet.extract_dup(0, packet.get_size()))
    count, stamp = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
    data[4:8] = (stamp + options.shift & 0xFFFFFFFF).to_bytes(4, "big")
    options.held.append(remade(packet, data))
    overtaken = options.reorder and count % options.reorder == 0
    if len(options.held) == 3 or (len(options.held) == 1 and not overtaken):
        options.passing = True
        for one in [*options.held[1:], options.held[0]]:
            pad.push(one)
        options.passing = False
        options.held.clear()
    return Gst.PadProbeReturn.DROP


def remade(packet, data):
    """The same packet with other bytes."""
    made = Gst.Buffer.new_wrapped(bytes(data))
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    return made


def reset_clock(options):
    """The packets' clock goes back by more than it has counted."""
    options.shift -= 3600 * 90_000
    return True


class Factory(GstRtspServer.RTSPMediaFactory):
    """One camera, the same for all who watch it."""

    def __init__(self, options):
        super().__init__()
        self._options = options
        encode = (
            "jpegenc ! rtpjpegpay pt=26"
            if options.codec == "jpeg"
            else f"x264enc tune=zerolatency speed-preset=ultrafast bitrate=400 key-int-max={options.fps // 2} ! "
            "video/x-h264,profile=baseline ! rtph264pay pt=96 config-interval=-1"
        )
        encode += f" ! identity name=pay0 drop-probability={options.loss}"
        self.set_launch(
            f"( appsrc name=camera is-live=true format=time ! videoconvert ! video/x-raw,format=I420 ! {encode} )"
        )
        self.set_shared(True)

    def do_configure(self, media):
        source = media.get_element().get_by_name_recurse_up("camera")
        source.set_property("caps", caps(self._options))
        feed = Feed(source, self._options)
        if self._options.spoil:
            leaving = media.get_element().get_by_name_recurse_up("pay0").get_static_pad("src")
            leaving.add_probe(Gst.PadProbeType.BUFFER, spoil, self._options)
        media.connect("unprepared", feed.end)


def guard(options):
    """Who does not give the password is refused with 401; with a certificate all is encrypted."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "watcher")
    if options.login:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*options.login.split(":")), token)
    else:
        auth.set_default_token(token)
    if options.certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options.certificate))
    return auth


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", default="0")
    parser.add_argument("--mount", action="append")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=120)
    parser.add_argument("--codec", choices=("h264", "jpeg"), default="h264")
    parser.add_argument("--loss", type=float, default=0.0, help="share of the packets that never leave")
    parser.add_argument("--reorder", type=int, default=0, help="every so many packets one is overtaken by two others")
    parser.add_argument("--spoil", action="store_true", help="packets can be reordered and given another clock")
    parser.add_argument("--login", help="user:password")
    parser.add_argument("--certificate", help="PEM file of a certificate and its key: rtsps in place of rtsp")
    options = parser.parse_args()
    options.shift, options.held, options.passing = 0, [], False
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(options.address)
    server.set_service(options.port)
    for mount in options.mount or ["live"]:
        factory = Factory(options)
        if options.login or options.certificate:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("watcher", "media.factory.access", True)
            permissions.add_permission_for_role("watcher", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(f"/{mount}", factory)
    if options.login or options.certificate:
        server.set_auth(guard(options))
    if not server.attach(None):
        raise SystemExit(f"port {options.port} is taken")
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, grow, options)
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR2, reset_clock, options)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
