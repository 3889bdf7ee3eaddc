# ruff: noqa - IronPython 2.7, with names that Renode's monitor puts there
# Counts what a Cortex-M core executes, inside Renode, so that tinysim can price it. Renode's monitor loads it:
#
#   include @platforms/tinysim.py
#   tinysim_begin                                   count from here on (of sysbus.cpu; tinysim_begin 2 "sysbus.cpu2" of another core)
#   tinysim_function "fir"                          measure a function, from each entry to its return
#   tinysim_function "fir" 0x08000086               the same, for a program without symbols
#   tinysim_stretch "a..b" 0x08000044 0x08000048    measure from one address to another
#   emulation RunFor "1"                            or start and pause
#   tinysim_summary                                 what was counted so far
#   tinysim_dump "/tmp/counts.json"                 write it all, in the form tinysim.counts/1
#   tinysim_end                                     stop counting
#
# Then, outside:  tinysim price /tmp/counts.json --part stm32l4r5zi --clock 80MHz
#
# About ten times faster, where Renode compiles C#: include @platforms/renode/block_counter.cs and use its commands (listed there).
#
# The language is Renode's IronPython, version 2.7 without a standard library. Each definition mc_x is the monitor's command x.

import System

try:
    _INTEGERS = (int, long)
except NameError:
    _INTEGERS = (int,)

_NONE = -1
_FIRST_LAYER = 1 << 20
_NO_STACK = 0xFFFFFFFF
_SP, _LR = 13, 14


class _Counter(object):
    """An automaton: a state is (phase, the last pieces), and each state counts the pieces that ran next."""

    def __init__(self, machine, cpu, history):
        self.machine, self.cpu, self.history = machine, cpu, history
        self.markers = []                # name, start, stop or None
        self.phases = [[_NONE, _NONE, _NO_STACK, 0]]      # parent, marker, lowest stack pointer, entries
        self.pieces, self.numbers = [], {}
        self.rows = {}                   # (phase, pieces, the newest last) -> executions
        self.frames = []                 # where it returns to, stack pointer, marker, whether it is a stretch
        self.phase, self.path = 0, (_NONE,) * history
        self.watched = _NONE
        self.calls, self.layer, self.layer_return, self.calls_until_layer = {}, 0, 0, 0
        self.restarts = set()
        self.fresh, self.active, self.counted = False, True, 0
        self.starts, self.stops = {}, {}
        self.start_instructions = int(cpu.ExecutedInstructions)

    def register(self, number):
        return int(self.cpu.GetRegister(number).RawValue) & 0xFFFFFFFF

    def runs(self, pc, instructions):
        """A piece of straight-line code begins. Zero instructions: it is left at once, at a hook."""
        if not instructions or not self.active:
            return
        pc, instructions = int(pc), int(instructions)
        if pc == self.watched:
            self.close(pc)
        if self.calls_until_layer:
            self.calls_until_layer -= 1
            if not self.calls_until_layer:
                self.open(self.layer_return, _FIRST_LAYER + self.layer, False)
                self.layer += 1
        if pc in self.stops:
            self.leave(self.stops[pc])
        if pc in self.starts:
            for marker in self.starts[pc]:
                self.enter(marker)
        if pc in self.restarts:
            self.layer = 0
        if pc in self.calls:
            self.calls_until_layer, self.layer_return = 1, self.calls[pc]
        piece = (pc, instructions, self.fresh)
        self.fresh = False
        number = self.numbers.get(piece)
        if number is None:
            number = self.numbers[piece] = len(self.pieces)
            self.pieces.append(piece)
        path = self.path + (number,)
        key = (self.phase, path)
        if key in self.rows:
            self.rows[key] += 1
        else:
            self.rows[key] = 1
            self.see_stack()
        self.counted += instructions
        self.path = path[1:]

    def see_stack(self):
        # a path never seen before, or an entry, is where a deeper stack can appear
        stack, phase = self.register(_SP), self.phase
        while phase != _NONE:
            self.phases[phase][2] = min(self.phases[phase][2], stack)
            phase = self.phases[phase][0]

    def enter(self, marker):
        stretch = self.markers[marker][2] is not None
        if stretch and self.is_open(marker):
            return                       # passing its start again changes nothing
        link = self.register(_LR)
        if not stretch and link >= 0xFFFFFF00:
            # an exception handler: where the stacked program counter points
            link = int(self.machine.SystemBus.ReadDoubleWord(self.register(_SP) + 24))
        self.open(link & ~1, marker, stretch)
        if stretch:
            self.fresh = True

    def leave(self, markers):
        for marker in markers:
            for at in range(len(self.frames) - 1, -1, -1):
                if self.frames[at][2] == marker and self.frames[at][3]:
                    del self.frames[at]
                    self.follow()
                    self.fresh = True
                    break

    def open(self, returns_to, marker, stretch):
        self.frames.append((returns_to, self.register(_SP), marker, stretch))
        self.follow()
        self.see_stack()
        self.phases[self.phase][3] += 1

    def close(self, address):
        """Close the innermost function, and those that a tail call left with the same return address and stack."""
        stack = None
        for at in range(len(self.frames) - 1, -1, -1):
            returns_to, its_stack, _, stretch = self.frames[at]
            if stretch:
                continue
            if returns_to != address or stack not in (None, its_stack):
                break
            stack = its_stack
            del self.frames[at]
        self.follow()

    def follow(self):
        """The phase and the watched address that belong to the open frames."""
        phase, self.watched = 0, _NONE
        for returns_to, _, marker, stretch in self.frames:
            phase = self.phase_below(phase, marker)
            if not stretch:
                self.watched = returns_to
        self.phase = phase

    def is_open(self, marker):
        phase = self.phase
        while phase > 0:
            if self.phases[phase][1] == marker:
                return True
            phase = self.phases[phase][0]
        return False

    def phase_below(self, phase, marker):
        above = phase
        while above > 0:
            if self.phases[above][1] == marker:
                return phase             # recursion
            above = self.phases[above][0]
        for number in range(1, len(self.phases)):
            if self.phases[number][:2] == [phase, marker]:
                return number
        self.phases.append([phase, marker, _NO_STACK, 0])
        return len(self.phases) - 1

    def forget(self):
        self.rows = {}
        for phase in self.phases:
            phase[2], phase[3] = _NO_STACK, 0
        self.counted = 0
        self.start_instructions = int(self.cpu.ExecutedInstructions)

    def executed(self):
        return int(self.cpu.ExecutedInstructions) - self.start_instructions

    def code(self, address, instructions):
        """The bytes of a piece in hexadecimal. A wide Thumb instruction's first halfword begins 0b11101, 0b11110 or 0b11111."""
        data = [int(b) for b in self.machine.SystemBus.ReadBytes(address, 4 * instructions)]
        end = 0
        for _ in range(instructions):
            end += 4 if (data[end] | data[end + 1] << 8) >> 11 in (29, 30, 31) else 2
        return "".join("%02x" % b for b in data[:end])

    def json(self):
        markers = ",".join("[%s,%d,%s]" % (_text(name), start, "null" if stop is None else stop) for name, start, stop in self.markers)
        phases = ",".join("[%d,%d,%d,%d]" % tuple(phase) for phase in self.phases)
        pieces = ",\n".join("[%d,%d,%d,\"%s\"]" % (a, n, 1 if fresh else 0, self.code(a, n)) for a, n, fresh in self.pieces)
        rows = ",\n".join(
            "[%d,%s,%d]" % (phase, ",".join("%d" % piece for piece in path), count) for (phase, path), count in self.rows.items())
        return "".join((
            "{\"schema\":\"tinysim.counts/1\",\"counter\":\"ironpython\",\"cpu\":%s,\"history\":%d," % (_text(str(self.cpu.Model)), self.history),
            "\"instructions\":%d,\"executed\":%d,\n" % (self.counted, self.executed()),
            "\"markers\":[%s],\n\"phases\":[%s],\n\"pieces\":[%s],\n\"rows\":[%s]}\n" % (markers, phases, pieces, rows)))


def _text(value):
    return "\"" + value.replace("\\", "\\\\").replace("\"", "\\\"") + "\""


def _number(value):
    return int(value) if isinstance(value, _INTEGERS) else int(str(value), 0)


class _Session(object):
    counter = None


def _counter():
    if _Session.counter is None:
        raise Exception("nothing is counted: tinysim_begin comes first")
    return _Session.counter


def _address_of(name):
    found = self.Machine.SystemBus.GetSymbolAddress(name)
    return int(found) & ~1


def mc_tinysim_begin(history=2, cpu="sysbus.cpu"):
    mc_tinysim_end()
    history = _number(history)
    if not 1 <= history <= 8:
        raise Exception("the history is from 1 to 8 pieces")
    core = self.Machine[str(cpu)]
    counter = _Session.counter = _Counter(self.Machine, core, history)
    _Session.hook = System.Action[System.UInt64, System.UInt32](counter.runs)
    core.SetHookAtBlockBegin(_Session.hook)


def mc_tinysim_function(name, address=None):
    counter = _counter()
    start = _address_of(str(name)) if address is None else _number(address) & ~1
    counter.markers.append((str(name), start, None))
    counter.starts.setdefault(start, []).append(len(counter.markers) - 1)


def mc_tinysim_stretch(name, start, stop):
    counter = _counter()
    start, stop = _number(start) & ~1, _number(stop) & ~1
    counter.markers.append((str(name), start, stop))
    number = len(counter.markers) - 1
    counter.starts.setdefault(start, []).append(number)
    counter.stops.setdefault(stop, []).append(number)
    for address in (start, stop):
        counter.cpu.AddHook(address, _cut)        # so that a piece begins there


def mc_tinysim_layers(call, returns_to):
    counter = _counter()
    counter.calls[_number(call) & ~1] = _number(returns_to) & ~1
    counter.cpu.AddHook(_number(call) & ~1, _cut)


def mc_tinysim_restart_layers_at(address):
    _counter().restarts.add(_number(address) & ~1)


def _cut(_cpu, _pc):
    pass


def mc_tinysim_summary():
    counter = _counter()
    print("pieces=%d rows=%d instructions=%d executed=%d open=%d" % (
        len(counter.pieces), len(counter.rows), counter.counted, counter.executed(), len(counter.frames)))


def mc_tinysim_forget():
    _counter().forget()


def mc_tinysim_dump(path):
    System.IO.File.WriteAllText(str(path), _counter().json())


def mc_tinysim_end():
    counter = _Session.counter
    if counter is not None and counter.active:
        counter.active = False
        counter.cpu.ClearHookAtBlockBegin()
