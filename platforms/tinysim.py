# ruff: noqa - IronPython 2.7, with names that Renode's monitor puts there
# Counts what a Cortex-M core executes, inside Renode, so that tinysim can price it. Renode's monitor loads it:
#
#   include @platforms/tinysim.py
#   tinysim_begin                                   count from here on
#   tinysim_begin 2 "sysbus.cpu2"                   the same of another core; 2: pieces of history kept with each piece
#   tinysim_begin 3 "sysbus.cpu" 1                  the same, with the branch predictors of a Cortex-M7
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

    def __init__(self, machine, cpu, history, predict):
        self.machine, self.cpu, self.history = machine, cpu, history
        self.predictor = _Predictor(self) if predict else None
        self.missed = {}                 # like rows: wrong without history, wrong with history
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
        if self.predictor is not None:
            without, with_history = self.predictor.runs(piece)
            if without or with_history:
                before = self.missed.get(key, (0, 0))
                self.missed[key] = (before[0] + without, before[1] + with_history)
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
        self.rows, self.missed = {}, {}
        for phase in self.phases:
            phase[2], phase[3] = _NO_STACK, 0
        self.counted = 0
        self.start_instructions = int(self.cpu.ExecutedInstructions)

    def executed(self):
        return int(self.cpu.ExecutedInstructions) - self.start_instructions

    def code(self, address, instructions):
        """The bytes of a piece in hexadecimal."""
        data = [int(b) for b in self.machine.SystemBus.ReadBytes(address, 4 * instructions)]
        end = 0
        for _ in range(instructions):
            end += 4 if _is_wide(data[end] | data[end + 1] << 8) else 2
        return "".join("%02x" % b for b in data[:end])

    def json(self):
        markers = ",".join("[%s,%d,%s]" % (_text(name), start, "null" if stop is None else stop) for name, start, stop in self.markers)
        phases = ",".join("[%d,%d,%d,%d]" % tuple(phase) for phase in self.phases)
        pieces = ",\n".join("[%d,%d,%d,\"%s\"]" % (a, n, 1 if fresh else 0, self.code(a, n)) for a, n, fresh in self.pieces)
        predicted = self.predictor is not None
        rows = ",\n".join(
            "[%d,%s,%d%s]" % (
                phase, ",".join("%d" % piece for piece in path), count,
                ",%d,%d" % self.missed.get((phase, path), (0, 0)) if predicted else "")
            for (phase, path), count in self.rows.items())
        return "".join((
            "{\"schema\":\"tinysim.counts/1\",\"counter\":\"ironpython\",\"cpu\":%s,\"history\":%d," % (_text(str(self.cpu.Model)), self.history),
            "\"predicted\":%d," % (1 if predicted else 0), "\"instructions\":%d,\"executed\":%d,\n" % (self.counted, self.executed()),
            "\"markers\":[%s],\n\"phases\":[%s],\n\"pieces\":[%s],\n\"rows\":[%s]}\n" % (markers, phases, pieces, rows)))


_PLAIN, _CONDITIONAL, _JUMP, _CALL, _CALL_INDIRECT, _RETURN, _INDIRECT = range(7)


class _Predictor(object):
    """What a Cortex-M7 can be expected to predict wrongly: see platforms/renode/block_counter.cs, which does the same."""

    def __init__(self, counter):
        self.counter = counter
        self.endings = {}                # piece -> where it ends, and how
        self.counters, self.targets = {}, {}
        self.returns, self.depth, self.history = [0] * 8, 0, 0
        self.last = None

    def runs(self, piece):
        """A piece begins: whether the branch that led to it was predicted wrongly, without and with history."""
        address, last = piece[0], self.last
        if piece not in self.endings:
            self.endings[piece] = self.ending(piece)
        self.last = self.endings[piece]
        if last is None:
            return 0, 0
        end, kind = last
        missed = (0, 0)
        if kind == _CONDITIONAL:
            taken = address != end
            missed = self.wrong((end, None), taken, address < end), self.wrong((end, self.history), taken, address < end)
            self.history = (self.history << 1 | int(taken)) & 255
        elif kind in (_CALL, _CALL_INDIRECT):
            self.returns[self.depth & 7] = end
            self.depth += 1
        if kind >= _CALL_INDIRECT and address != end:
            if kind == _RETURN and self.depth:
                self.depth -= 1
                right = self.returns[self.depth & 7] == address
            else:
                right = self.targets.get(end) == address
                self.targets[end] = address
            missed = (0, 0) if right else (1, 1)
        return missed

    def wrong(self, key, taken, backward):
        count = self.counters.get(key)
        if count is None:
            predicted = taken and backward
            count = 4 if predicted else 2
        else:
            predicted = count >= 3
        self.counters[key] = min(4, count + 1) if taken else max(1, count - 1)
        return int(predicted != taken)

    def ending(self, piece):
        data = [int(b) for b in self.counter.machine.SystemBus.ReadBytes(piece[0], 4 * piece[1] + 4)]
        at = last = 0
        for _ in range(piece[1]):
            last = at
            at += 4 if _is_wide(data[at] | data[at + 1] << 8) else 2
        first, second = data[last] | data[last + 1] << 8, data[last + 2] | data[last + 3] << 8
        return piece[0] + at, _wide_ending(first, second) if _is_wide(first) else _narrow_ending(first)


def _is_wide(first):
    return first >> 11 in (29, 30, 31)


def _narrow_ending(op):
    """How an instruction changes the flow (Armv7-M ARM, chapters A5 and A7)."""
    if (op & 0xF000 == 0xD000 and op >> 8 & 15 < 14) or op & 0xF500 == 0xB100:
        return _CONDITIONAL
    if op & 0xF800 == 0xE000:
        return _JUMP
    if op & 0xFF80 == 0x4700:
        return _RETURN if op >> 3 & 15 == 14 else _INDIRECT
    if op & 0xFF80 == 0x4780:
        return _CALL_INDIRECT
    if op & 0xFF00 == 0xBD00:
        return _RETURN
    return _INDIRECT if op & 0xFF87 in (0x4687, 0x4487) else _PLAIN


def _wide_ending(first, second):
    if first & 0xF800 == 0xF000 and second & 0x8000:
        if second & 0x5000 == 0x5000:
            return _CALL
        if second & 0x1000:
            return _JUMP
        return _CONDITIONAL if second & 0x5000 == 0 and first >> 7 & 7 != 7 else _PLAIN
    if first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000:
        return _INDIRECT
    if (first & 0xFE50 == 0xE810 and second & 0x8000) or (first & 0xFF70 == 0xF850 and second & 0xF000 == 0xF000):
        return _RETURN if first & 15 == 13 else _INDIRECT
    return _PLAIN


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


def mc_tinysim_begin(history=2, cpu="sysbus.cpu", predict=0):
    mc_tinysim_end()
    history = _number(history)
    if not 1 <= history <= 8:
        raise Exception("the history is from 1 to 8 pieces")
    core = self.Machine[str(cpu)]
    counter = _Session.counter = _Counter(self.Machine, core, history, _number(predict))
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
