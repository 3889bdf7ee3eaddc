// Counts what a Cortex-M core of Renode executes, for tinysim: how often each piece of straight-line code ran, after which
// pieces, and in which of the measured functions and stretches. Renode compiles it:  include @block_counter.cs
//
//   cpu TinysimBegin 2                               start counting; 2: pieces of history kept with each piece
//   cpu TinysimBegin 3 true                          the same, with the branch predictors of a Cortex-M7
//   cpu TinysimFunction "fir" 0x08000086             measure a function, from each entry to its return
//   cpu TinysimStretch "a..b" 0x08000044 0x08000048  measure from one address to another
//   cpu TinysimLayers 0x08000100 0x08000104          each call made at the first address is a layer (second: where it returns to)
//   cpu TinysimSummary                               what was counted so far
//   cpu TinysimDump @counts.json                     write it all, in the form tinysim.counts/1
//   cpu TinysimForget                                drop the counts so far; what is open stays open
//   cpu TinysimEnd                                   stop counting
//
// The counter is an automaton. A state is the last pieces and the phase (which measured functions are open); an edge is one more
// piece, and all an execution usually does is add one to its edge. Renode cuts code into pieces where its time quantum or a hook
// falls; tinysim joins them again.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Runtime.CompilerServices;
using System.Text;
using Antmicro.Renode.Core;
using Antmicro.Renode.Exceptions;
using Antmicro.Renode.Peripherals.CPU;

namespace Tinysim
{
    internal sealed class Edge
    {
        public ulong Count, Misses, MissesWithHistory;
        public State Next;
        public int Piece;
    }

    internal sealed class State
    {
        public ulong Key0, Key1;
        public Edge Edge0, Edge1;
        public Dictionary<ulong, Edge> Others;
        public Path Path;

        public IEnumerable<Edge> Edges()
        {
            if(Edge0 != null) { yield return Edge0; }
            if(Edge1 != null) { yield return Edge1; }
            if(Others != null) { foreach(var edge in Others.Values) { yield return edge; } }
        }
    }

    // A phase and the last pieces, oldest first; -1 where there was none.
    internal struct Path : IEquatable<Path>
    {
        public int Phase, A, B, C;

        public bool Equals(Path other)
        {
            return Phase == other.Phase && A == other.A && B == other.B && C == other.C;
        }

        public override bool Equals(object other)
        {
            return other is Path && Equals((Path)other);
        }

        public override int GetHashCode()
        {
            unchecked { return ((Phase * 31 + A) * 1000003 + B) * 1000003 + C; }
        }
    }

    internal enum Ending { Plain, Conditional, Jump, Call, CallIndirect, Return, Indirect }

    internal sealed class Piece
    {
        public uint Address, Instructions;
        public bool Fresh;              // begins where a stretch does: never the rest of the piece before it
        public uint End;                // these three only where branches are predicted
        public Ending Ending;
        public Branch Branch;
    }

    internal sealed class Branch
    {
        public byte Counter;            // 0: never seen; 1 and 2: predicted not taken; 3 and 4: taken
        public byte[] Counters;         // the same for each history
        public uint Target;
    }

    // What a Cortex-M7 can be expected to predict wrongly. Conditional branches: a two-bit counter for each branch, and the same
    // with eight bits of global history. Returns: a stack of eight. Other indirect branches: the last target.
    internal sealed class Predictor
    {
        // Bit 0: wrong without history; bit 1: wrong with history.
        public int Missed(Piece last, uint address)
        {
            var missed = 0;
            if(last.Ending == Ending.Conditional)
            {
                var taken = address != last.End;
                var branch = last.Branch;
                if(branch.Counters == null) { branch.Counters = new byte[256]; }
                if(Wrong(ref branch.Counter, taken, address < last.End)) { missed = 1; }
                if(Wrong(ref branch.Counters[history], taken, address < last.End)) { missed |= 2; }
                history = (history << 1 | (taken ? 1 : 0)) & 255;
            }
            else if(last.Ending == Ending.Call || last.Ending == Ending.CallIndirect)
            {
                returns[depth & 7] = last.End;
                depth++;
            }
            if(last.Ending >= Ending.CallIndirect && address != last.End)
            {
                bool right;
                if(last.Ending == Ending.Return && depth > 0)
                {
                    depth--;
                    right = returns[depth & 7] == address;
                }
                else
                {
                    right = last.Branch.Target == address;
                    last.Branch.Target = address;
                }
                missed = right ? 0 : 3;
            }
            return missed;
        }

        private static bool Wrong(ref byte counter, bool taken, bool isBackward)
        {
            bool predicted;
            if(counter == 0)
            {
                predicted = taken && isBackward;
                counter = (byte)(predicted ? 4 : 2);
            }
            else
            {
                predicted = counter >= 3;
            }
            counter = (byte)(taken ? Math.Min(4, counter + 1) : Math.Max(1, counter - 1));
            return predicted != taken;
        }

        private readonly uint[] returns = new uint[8];
        private int depth;
        private int history;
    }

    internal static class Thumb
    {
        public static bool IsWide(uint first)
        {
            return (first & 0xE000) == 0xE000 && (first & 0x1800) != 0;
        }

        // How an instruction changes the flow (Armv7-M ARM, chapters A5 and A7).
        public static Ending EndingOf(uint first, uint second)
        {
            return IsWide(first) ? Wide(first, second) : Narrow(first);
        }

        private static Ending Narrow(uint op)
        {
            if((op & 0xF000) == 0xD000 && (op >> 8 & 15) < 14) { return Ending.Conditional; }
            if((op & 0xF500) == 0xB100) { return Ending.Conditional; }                     // CBZ, CBNZ
            if((op & 0xF800) == 0xE000) { return Ending.Jump; }
            if((op & 0xFF80) == 0x4700) { return (op >> 3 & 15) == 14 ? Ending.Return : Ending.Indirect; }
            if((op & 0xFF80) == 0x4780) { return Ending.CallIndirect; }
            if((op & 0xFF00) == 0xBD00) { return Ending.Return; }                          // POP with PC
            if((op & 0xFF87) == 0x4687 || (op & 0xFF87) == 0x4487) { return Ending.Indirect; }   // MOV PC, ADD PC
            return Ending.Plain;
        }

        private static Ending Wide(uint first, uint second)
        {
            if((first & 0xF800) == 0xF000 && (second & 0x8000) != 0)
            {
                if((second & 0x5000) == 0x5000) { return Ending.Call; }
                if((second & 0x1000) != 0) { return Ending.Jump; }
                return (second & 0x5000) == 0 && (first >> 7 & 7) != 7 ? Ending.Conditional : Ending.Plain;
            }
            if((first & 0xFFF0) == 0xE8D0 && (second & 0xFFE0) == 0xF000) { return Ending.Indirect; }       // TBB, TBH
            if((first & 0xFE50) == 0xE810 && (second & 0x8000) != 0)                                        // LDM with PC
            {
                return (first & 15) == 13 ? Ending.Return : Ending.Indirect;
            }
            if((first & 0xFF70) == 0xF850 && (second & 0xF000) == 0xF000)                                   // LDR PC
            {
                return (first & 15) == 13 ? Ending.Return : Ending.Indirect;
            }
            return Ending.Plain;
        }
    }

    internal sealed class Phase
    {
        public int Parent, Marker;
        public uint LowestStack = uint.MaxValue;
        public ulong Entries;
    }

    internal sealed class Marker
    {
        public string Name;
        public uint Start;
        public uint? Stop;
    }

    internal struct Arrival
    {
        public int Marker;
        public bool Leaves;
        public uint Stack, Link;
    }

    internal struct Frame
    {
        public uint Return, Stack;
        public int Marker;
        public bool IsStretch;
    }

    internal sealed class Counter
    {
        public const int FirstLayer = 1 << 20;
        public const int MostHistory = 3;
        private const uint Nowhere = 1;     // no code is at an odd address

        public Counter(TranslationCPU cpu, int history, bool predict)
        {
            this.cpu = cpu;
            predictor = predict ? new Predictor() : null;
            this.history = history;
            phases.Add(new Phase { Parent = -1, Marker = -1 });
            current = StateOf(new Path { Phase = 0, A = -1, B = -1, C = -1 });
            startInstructions = cpu.ExecutedInstructions;
        }

        public bool Active = true;

        // After a piece of straight-line code ran. Zero instructions: left before its first one, at a hook.
        public void Ran(ulong pc, uint instructions)
        {
            if(instructions == 0 || !Active)
            {
                return;
            }
            if((uint)pc == watched)
            {
                Return((uint)pc);
            }
            if(callsUntilLayer != 0 && --callsUntilLayer == 0)
            {
                OpenLayer();
            }
            if(arrivals.Count != 0)
            {
                Settle((uint)pc);
            }
            var key = (pc << 16 | instructions << 1 | (fresh ? 1u : 0u)) + 1;
            var state = current;
            Edge edge;
            if(state.Key0 == key) { edge = state.Edge0; }
            else if(state.Key1 == key) { edge = state.Edge1; }
            else { edge = Seldom(state, key, (uint)pc, instructions); }
            edge.Count++;
            counted += instructions;
            if(predictor != null)
            {
                if(last != null)
                {
                    var missed = predictor.Missed(last, (uint)pc);
                    edge.Misses += (ulong)(missed & 1);
                    edge.MissesWithHistory += (ulong)(missed >> 1);
                }
                last = pieces[edge.Piece];
            }
            current = edge.Next;
            fresh = false;
        }

        private Edge Seldom(State state, ulong key, uint pc, uint instructions)
        {
            Edge edge;
            if(state.Others != null && state.Others.TryGetValue(key, out edge))
            {
                return edge;
            }
            int piece;
            if(!pieceNumbers.TryGetValue(key, out piece))
            {
                piece = pieces.Count;
                pieceNumbers[key] = piece;
                pieces.Add(new Piece { Address = pc, Instructions = instructions, Fresh = fresh });
                if(predictor != null) { SeeEnding(pieces[piece]); }
            }
            var path = state.Path;
            if(history == 3) { path.A = path.B; }
            if(history >= 2) { path.B = path.C; }
            if(history >= 1) { path.C = piece; }
            edge = new Edge { Next = StateOf(path), Piece = piece };
            if(state.Edge0 == null) { state.Key0 = key; state.Edge0 = edge; }
            else if(state.Edge1 == null) { state.Key1 = key; state.Edge1 = edge; }
            else
            {
                if(state.Others == null) { state.Others = new Dictionary<ulong, Edge>(); }
                state.Others[key] = edge;
            }
            SeeStack((uint)cpu.GetRegister(StackPointer).RawValue);
            return edge;
        }

        private void SeeEnding(Piece piece)
        {
            var address = piece.Address;
            var last = address;
            for(var i = 0u; i < piece.Instructions; i++)
            {
                last = address;
                address += Thumb.IsWide(cpu.Bus.ReadWord(address)) ? 4u : 2u;
            }
            piece.End = address;
            piece.Ending = Thumb.EndingOf(cpu.Bus.ReadWord(last), cpu.Bus.ReadWord(last + 2));
            if(!branches.TryGetValue(address, out piece.Branch))
            {
                branches[address] = piece.Branch = new Branch();
            }
        }

        // A path never seen before, or an entry, is where a deeper stack can appear.
        private void SeeStack(uint stack)
        {
            for(var phase = current.Path.Phase; phase >= 0; phase = phases[phase].Parent)
            {
                phases[phase].LowestStack = Math.Min(phases[phase].LowestStack, stack);
            }
        }

        private State StateOf(Path path)
        {
            State state;
            if(!states.TryGetValue(path, out state))
            {
                state = new State { Path = path };
                states[path] = state;
            }
            return state;
        }

        public int AddMarker(string name, uint start, uint? stop)
        {
            foreach(var known in markers)
            {
                if(known.Name == name) { throw new RecoverableException("there is a measurement of that name already: " + name); }
            }
            markers.Add(new Marker { Name = name, Start = start, Stop = stop });
            return markers.Count - 1;
        }

        // Before the first instruction of a measured function or stretch, or the one after a stretch: what happens then happens
        // when that instruction has run, for the program may be stopped and sent elsewhere here.
        public void Arrive(int marker, bool leaves)
        {
            if(!Active) { return; }
            arrivals.Add(new Arrival
            {
                Marker = marker,
                Leaves = leaves,
                Stack = (uint)cpu.GetRegister(StackPointer).RawValue,
                Link = (uint)cpu.GetRegister(LinkRegister).RawValue,
            });
        }

        private void Settle(uint pc)
        {
            foreach(var arrival in arrivals)
            {
                if(arrival.Leaves && markers[arrival.Marker].Stop == pc) { Leave(arrival.Marker); }
            }
            foreach(var arrival in arrivals)
            {
                if(!arrival.Leaves && markers[arrival.Marker].Start == pc) { Enter(arrival); }
            }
            arrivals.Clear();
        }

        private void Enter(Arrival arrival)
        {
            var isStretch = markers[arrival.Marker].Stop.HasValue;
            if(isStretch && IsOpen(arrival.Marker)) { return; }     // passing its start again changes nothing
            var link = arrival.Link;
            if(!isStretch && link >= ExceptionReturn)
            {
                link = cpu.Bus.ReadDoubleWord(arrival.Stack + 24);    // an exception handler: where the stacked program counter points
            }
            Push(new Frame { Return = link & ~1u, Stack = arrival.Stack, Marker = arrival.Marker, IsStretch = isStretch });
            phases[current.Path.Phase].Entries++;
            if(isStretch) { fresh = true; }
        }

        private void Leave(int marker)
        {
            for(var i = frames.Count - 1; i >= 0; i--)
            {
                if(frames[i].Marker == marker && frames[i].IsStretch)
                {
                    frames.RemoveAt(i);
                    Follow();
                    fresh = true;
                    return;
                }
            }
        }

        // Before a call that starts a layer.
        public void CallLayer(uint returnsTo)
        {
            if(!Active) { return; }
            callsUntilLayer = 2;                             // the call itself still belongs to the caller
            layerReturn = returnsTo;
        }

        public void RestartLayers()
        {
            layer = 0;
        }

        private void OpenLayer()
        {
            callsUntilLayer = 0;
            var stack = (uint)cpu.GetRegister(StackPointer).RawValue;
            Push(new Frame { Return = layerReturn, Stack = stack, Marker = FirstLayer + layer, IsStretch = false });
            phases[current.Path.Phase].Entries++;
            layer++;
        }

        private bool IsOpen(int marker)
        {
            for(var phase = current.Path.Phase; phase > 0; phase = phases[phase].Parent)
            {
                if(phases[phase].Marker == marker) { return true; }
            }
            return false;
        }

        private void Push(Frame frame)
        {
            frames.Add(frame);
            Follow();
            SeeStack(frame.Stack);
        }

        // Close the innermost function, and those that a tail call left with the same return address and stack.
        private void Return(uint address)
        {
            var found = false;
            uint stack = 0;
            for(var i = frames.Count - 1; i >= 0; i--)
            {
                if(frames[i].IsStretch) { continue; }
                if(frames[i].Return != address || (found && frames[i].Stack != stack)) { break; }
                stack = frames[i].Stack;
                found = true;
                frames.RemoveAt(i);
            }
            Follow();
        }

        // The phase and the watched address that belong to the open frames.
        private void Follow()
        {
            var phase = 0;
            watched = Nowhere;
            foreach(var frame in frames)
            {
                phase = PhaseBelow(phase, frame.Marker);
                if(!frame.IsStretch) { watched = frame.Return; }
            }
            var path = current.Path;
            path.Phase = phase;
            current = StateOf(path);
        }

        private int PhaseBelow(int phase, int marker)
        {
            for(var above = phase; above > 0; above = phases[above].Parent)
            {
                if(phases[above].Marker == marker) { return phase; }        // recursion
            }
            for(var i = 1; i < phases.Count; i++)
            {
                if(phases[i].Parent == phase && phases[i].Marker == marker) { return i; }
            }
            phases.Add(new Phase { Parent = phase, Marker = marker });
            return phases.Count - 1;
        }

        // Counting goes on from zero; the open functions and the last pieces stay.
        public void Forget()
        {
            foreach(var state in states.Values)
            {
                foreach(var edge in state.Edges()) { edge.Count = edge.Misses = edge.MissesWithHistory = 0; }
            }
            foreach(var phase in phases)
            {
                phase.Entries = 0;
                phase.LowestStack = uint.MaxValue;
            }
            counted = 0;
            startInstructions = cpu.ExecutedInstructions;
        }

        public string Summary()
        {
            return string.Format(
                CultureInfo.InvariantCulture, "pieces={0} states={1} instructions={2} executed={3} open={4}",
                pieces.Count, states.Count, counted, cpu.ExecutedInstructions - startInstructions, frames.Count);
        }

        public void Write(TextWriter writer)
        {
            writer.Write(
                "{{\"schema\":\"tinysim.counts/1\",\"counter\":\"csharp\",\"cpu\":{0},\"history\":{1},\"predicted\":{2},", Text(cpu.Model), history,
                predictor != null ? 1 : 0);
            writer.Write("\"instructions\":{0},\"executed\":{1},", counted, cpu.ExecutedInstructions - startInstructions);
            writer.Write("\"markers\":[");
            for(var i = 0; i < markers.Count; i++)
            {
                writer.Write(
                    "{0}[{1},{2},{3}]", i == 0 ? "" : ",", Text(markers[i].Name), markers[i].Start,
                    markers[i].Stop.HasValue ? markers[i].Stop.Value.ToString(CultureInfo.InvariantCulture) : "null");
            }
            writer.Write("],\n\"phases\":[");
            for(var i = 0; i < phases.Count; i++)
            {
                writer.Write(
                    "{0}[{1},{2},{3},{4}]", i == 0 ? "" : ",", phases[i].Parent, phases[i].Marker, phases[i].LowestStack, phases[i].Entries);
            }
            writer.Write("],\n\"pieces\":[");
            for(var i = 0; i < pieces.Count; i++)
            {
                writer.Write(
                    "{0}[{1},{2},{3},\"{4}\"]", i == 0 ? "" : ",\n", pieces[i].Address, pieces[i].Instructions, pieces[i].Fresh ? 1 : 0,
                    Code(pieces[i]));
            }
            writer.Write("],\n\"rows\":[");
            var first = true;
            foreach(var state in states.Values)
            {
                foreach(var edge in state.Edges())
                {
                    if(edge.Count == 0) { continue; }
                    writer.Write("{0}[{1},", first ? "" : ",\n", edge.Next.Path.Phase);
                    if(history >= 3) { writer.Write("{0},", state.Path.A); }
                    if(history >= 2) { writer.Write("{0},", state.Path.B); }
                    if(history >= 1) { writer.Write("{0},", state.Path.C); }
                    writer.Write("{0},{1}", edge.Piece, edge.Count);
                    if(predictor != null) { writer.Write(",{0},{1}", edge.Misses, edge.MissesWithHistory); }
                    writer.Write("]");
                    first = false;
                }
            }
            writer.Write("]}\n");
        }

        // The bytes of a piece, in hexadecimal.
        private string Code(Piece piece)
        {
            var text = new StringBuilder();
            var address = piece.Address;
            for(var i = 0u; i < piece.Instructions; i++)
            {
                var first = cpu.Bus.ReadWord(address);
                var halfwords = Thumb.IsWide(first) ? 2 : 1;
                for(var h = 0; h < halfwords; h++, address += 2)
                {
                    var halfword = cpu.Bus.ReadWord(address);
                    text.AppendFormat(CultureInfo.InvariantCulture, "{0:x2}{1:x2}", halfword & 255, halfword >> 8);
                }
            }
            return text.ToString();
        }

        private static string Text(string value)
        {
            return "\"" + (value ?? "").Replace("\\", "\\\\").Replace("\"", "\\\"") + "\"";
        }

        private const int StackPointer = 13;
        private const int LinkRegister = 14;
        private const uint ExceptionReturn = 0xFFFFFF00;

        private readonly TranslationCPU cpu;
        private readonly int history;
        private readonly Predictor predictor;
        private readonly Dictionary<uint, Branch> branches = new Dictionary<uint, Branch>();
        private readonly List<Piece> pieces = new List<Piece>();
        private readonly Dictionary<ulong, int> pieceNumbers = new Dictionary<ulong, int>();
        private readonly Dictionary<Path, State> states = new Dictionary<Path, State>();
        private readonly List<Phase> phases = new List<Phase>();
        private readonly List<Marker> markers = new List<Marker>();
        private readonly List<Frame> frames = new List<Frame>();
        private readonly List<Arrival> arrivals = new List<Arrival>();
        private State current;
        private Piece last;
        private ulong counted;
        private ulong startInstructions;
        private uint watched = Nowhere;
        private uint layerReturn;
        private int layer;
        private int callsUntilLayer;
        private bool fresh;
    }

    public static class TinysimExtensions
    {
        public static void TinysimBegin(this TranslationCPU cpu, int history = 2, bool predict = false)
        {
            if(history < 1 || history > Counter.MostHistory)
            {
                throw new RecoverableException("the history is 1, 2 or 3 pieces");
            }
            TinysimEnd(cpu);
            var counter = new Counter(cpu, history, predict);
            counters.Remove(cpu);
            counters.Add(cpu, counter);
            Action<ulong, uint> hook = counter.Ran;
            cpu.SetHookAtBlockEnd(hook);
        }

        public static void TinysimFunction(this TranslationCPU cpu, string name, uint address)
        {
            var counter = Of(cpu);
            var marker = counter.AddMarker(name, address & ~1u, null);
            cpu.AddHook(address & ~1u, (c, pc) => counter.Arrive(marker, false));
        }

        public static void TinysimStretch(this TranslationCPU cpu, string name, uint start, uint stop)
        {
            var counter = Of(cpu);
            var marker = counter.AddMarker(name, start & ~1u, stop & ~1u);
            cpu.AddHook(start & ~1u, (c, pc) => counter.Arrive(marker, false));
            cpu.AddHook(stop & ~1u, (c, pc) => counter.Arrive(marker, true));
        }

        public static void TinysimLayers(this TranslationCPU cpu, uint call, uint returnsTo)
        {
            var counter = Of(cpu);
            cpu.AddHook(call & ~1u, (c, pc) => counter.CallLayer(returnsTo & ~1u));
        }

        public static void TinysimRestartLayersAt(this TranslationCPU cpu, uint address)
        {
            var counter = Of(cpu);
            cpu.AddHook(address & ~1u, (c, pc) => counter.RestartLayers());
        }

        public static string TinysimSummary(this TranslationCPU cpu)
        {
            return Of(cpu).Summary();
        }

        public static void TinysimDump(this TranslationCPU cpu, string path)
        {
            using(var writer = new StreamWriter(path))
            {
                Of(cpu).Write(writer);
            }
        }

        public static void TinysimForget(this TranslationCPU cpu)
        {
            Of(cpu).Forget();
        }

        public static void TinysimEnd(this TranslationCPU cpu)
        {
            Counter counter;
            if(counters.TryGetValue(cpu, out counter) && counter.Active)
            {
                counter.Active = false;
                cpu.SetHookAtBlockEnd((Action<ulong, uint>)null);
            }
        }

        private static Counter Of(TranslationCPU cpu)
        {
            Counter counter;
            if(!counters.TryGetValue(cpu, out counter))
            {
                throw new RecoverableException("nothing is counted: TinysimBegin comes first");
            }
            return counter;
        }

        private static readonly ConditionalWeakTable<TranslationCPU, Counter> counters = new ConditionalWeakTable<TranslationCPU, Counter>();
    }
}
