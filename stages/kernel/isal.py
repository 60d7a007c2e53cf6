"""Intel's ISA-L, called in its C library: gzip's format five times as fast as zlib.

On Debian and Ubuntu the package is libisal2, on Fedora isa-l.  A C library needs no site packages, so it is found however
our interpreter was started.  Where it isn't, callers take zlib.

https://github.com/intel/isa-l/blob/v2.30.0/include/igzip_lib.h has the structures whose first fields are named here; the
rest of them is the library's own.
"""

import zlib
from _ctypes import FUNCFLAG_CDECL, CFuncPtr, Structure, _SimpleCData, addressof, dlopen, dlsym

_LIBRARY = "libisal.so.2"
_LEVEL = 1  # of 0 to 3: the next one takes a twentieth more time and saves a hundredth of the size
_ROOM = 1 << 20  # for a structure, or the tables of a level: several times what they take
_IGZIP_GZIP = 1  # with gzip's header and checksum


class _Int(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Unsigned(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "I"


class _UnsignedShort(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "H"


class _UnsignedLong(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "L"


class _Pointer(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Byte(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "B"


class _Deflate(Structure):
    """The beginning of struct isal_zstream."""

    _fields_ = [
        ("next_in", _Pointer), ("avail_in", _Unsigned), ("total_in", _Unsigned),
        ("next_out", _Pointer), ("avail_out", _Unsigned), ("total_out", _Unsigned),
        ("hufftables", _Pointer), ("level", _Unsigned), ("level_buf_size", _Unsigned), ("level_buf", _Pointer),
        ("end_of_stream", _UnsignedShort), ("flush", _UnsignedShort), ("gzip_flag", _UnsignedShort),
    ]  # fmt: skip


class _Inflate(Structure):
    """The beginning of struct inflate_state.  `read_in` are bytes that were taken ahead, `read_in_length` their bits."""

    _fields_ = [
        ("next_out", _Pointer), ("avail_out", _Unsigned), ("total_out", _Unsigned),
        ("next_in", _Pointer), ("read_in", _UnsignedLong), ("avail_in", _Unsigned), ("read_in_length", _Int),
    ]  # fmt: skip


class _ReturnsInt(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL  # other threads run meanwhile
    _restype_ = _Int


class _ReturnsUnsigned(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL
    _restype_ = _Unsigned


class _Calls:
    """The functions of the library that are used.  Raises OSError when it isn't installed."""

    def __init__(self) -> None:
        library = dlopen(_LIBRARY, 0)

        def function(kind: type[CFuncPtr], name: str, *argument_types: type) -> CFuncPtr:
            found = kind(dlsym(library, name))
            found.argtypes = argument_types
            return found

        self.begin_deflate = function(_ReturnsInt, "isal_deflate_stateless_init", _Pointer)
        self.deflate = function(_ReturnsInt, "isal_deflate_stateless", _Pointer)
        self.begin_inflate = function(_ReturnsInt, "isal_inflate_init", _Pointer)
        self.inflate = function(_ReturnsInt, "isal_inflate", _Pointer)
        self.crc32 = function(_ReturnsUnsigned, "crc32_gzip_refl", _Unsigned, _Pointer, _UnsignedLong)


class Packer:
    """Makes one gzip member of what is in a buffer.  Each thread needs one of its own."""

    def __init__(self, buffer: bytearray) -> None:
        self.calls = _calls()
        self.state, self.tables = bytearray(_ROOM), bytearray(_ROOM)
        self.out = bytearray(len(buffer) + len(buffer) // 8 + 1024)
        self.addresses = _address(buffer), _address(self.out), _address(self.tables)

    def __call__(self, size: int) -> memoryview:
        """Pack the first `size` bytes of the buffer; the result is good until the next call."""
        stream = _Deflate.from_buffer(self.state)
        self.calls.begin_deflate(addressof(stream))
        stream.next_in, stream.next_out, stream.level_buf = self.addresses
        stream.avail_in, stream.avail_out, stream.level_buf_size = size, len(self.out), _ROOM
        stream.level, stream.end_of_stream, stream.gzip_flag = _LEVEL, 1, _IGZIP_GZIP
        if self.calls.deflate(addressof(stream)):
            raise RuntimeError("ISA-L could not compress")  # what it can't it stores: there is room for that
        return memoryview(self.out)[: stream.total_out]


class Unpacker:
    """Inflates raw deflate data (RFC 1951), buffer by buffer."""

    def __init__(self) -> None:
        self.calls = _calls()
        self.state = _Inflate.from_buffer(bytearray(_ROOM))

    def begin(self) -> None:
        """A new stream of deflate data begins."""
        self.calls.begin_inflate(addressof(self.state))
        self.ended = False

    def step(self, source: bytearray, start: int, end: int, out: bytearray, last: bool) -> tuple[int, int]:
        """Inflate source[start:end] into `out`; how many bytes were used and how many made.

        `last` says that no more input will come.  `ended` is True as soon as the stream is at its end; a part of the
        input, up to 8 bytes of an earlier call, may then be given back: the number used is negative.
        Raises ValueError for what is no deflate data.
        """
        state = self.state
        state.next_in, state.avail_in = _address(source) + start, end - start
        state.next_out, state.avail_out = _address(out), len(out)
        if self.calls.inflate(addressof(state)) < 0:
            raise ValueError("no deflate data")
        used, made = end - start - state.avail_in, len(out) - state.avail_out
        # It stops with room left for two reasons: all input is used, or the stream is at its end.
        self.ended = state.avail_out > 0 and (state.avail_in > 0 or last)
        return used - (state.read_in_length // 8 if self.ended else 0), made

    def crc32(self, before: int, out: bytearray, size: int) -> int:
        """The checksum of gzip (RFC 1952), continued over the first `size` bytes of `out`."""
        return int(self.calls.crc32(before, _address(out), size))


def is_there() -> bool:
    """Is the library installed, and does it do what it is for?"""
    sample = bytearray(b"to be or not to be, that is the question " * 20)
    try:
        packed = bytes(Packer(sample)(len(sample)))
        unpacker, out = Unpacker(), bytearray(len(sample) + 1)
        unpacker.begin()
        used, made = unpacker.step(bytearray(packed), 10, len(packed), out, True)  # behind gzip's header
    except (OSError, ValueError, RuntimeError):
        return False
    good = (out[:made], used, unpacker.crc32(0, out, made)) == (sample, len(packed) - 18, zlib.crc32(sample))
    return good and zlib.decompress(packed, wbits=31) == sample


_loaded: list[_Calls] = []


def _calls() -> _Calls:
    if not _loaded:
        _loaded.append(_Calls())
    return _loaded[0]


def _address(buffer: bytearray) -> int:
    return addressof(_Byte.from_buffer(buffer))
