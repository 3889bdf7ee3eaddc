// The parts of Renode that the block counter uses, driven by lines on standard input. For tests of the counter without Renode.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using Antmicro.Renode.Peripherals.CPU;

namespace Antmicro.Renode.Core
{
    public interface IMachine { }
}

namespace Antmicro.Renode.Exceptions
{
    public class RecoverableException : Exception
    {
        public RecoverableException(string message) : base(message) { }
    }
}

namespace Antmicro.Renode.Peripherals
{
    public interface IPeripheral { }
}

namespace Antmicro.Renode.Peripherals.CPU
{
    public interface ICpuSupportingGdb { }

    public delegate void CpuAddressHook(ICpuSupportingGdb cpu, ulong address);

    public struct RegisterValue
    {
        public RegisterValue(ulong value) { RawValue = value; }
        public ulong RawValue;
    }

    public interface IBusController
    {
        ushort ReadWord(ulong address, IPeripheral context = null, ulong? state = null);
        uint ReadDoubleWord(ulong address, IPeripheral context = null, ulong? state = null);
    }

    public abstract class TranslationCPU : ICpuSupportingGdb
    {
        public abstract RegisterValue GetRegister(int register);
        public abstract ulong ExecutedInstructions { get; }
        public abstract IBusController Bus { get; }
        public abstract string Model { get; }
        public abstract void SetHookAtBlockEnd(Action<ulong, uint> hook);
        public abstract void AddHook(ulong address, CpuAddressHook hook);
    }
}

namespace Harness
{
    public class Core : TranslationCPU, IBusController
    {
        public Core(string model) { this.model = model; }

        public override RegisterValue GetRegister(int register)
        {
            return new RegisterValue(register == 13 ? Stack : register == 14 ? Link : 0);
        }

        public override ulong ExecutedInstructions { get { return Executed; } }
        public override IBusController Bus { get { return this; } }
        public override string Model { get { return model; } }

        public override void SetHookAtBlockEnd(Action<ulong, uint> hook)
        {
            BlockEnd = hook;
            Console.WriteLine(hook == null ? "unhooked" : "hooked");
        }

        public override void AddHook(ulong address, CpuAddressHook hook)
        {
            if(!Hooks.ContainsKey(address))
            {
                Hooks[address] = new List<CpuAddressHook>();
                Console.WriteLine("hook {0}", address);
            }
            Hooks[address].Add(hook);
        }

        public ushort ReadWord(ulong address, Antmicro.Renode.Peripherals.IPeripheral context = null, ulong? state = null)
        {
            foreach(var memory in Memories)
            {
                var offset = (long)address - (long)memory.Key;
                if(offset >= 0 && offset + 1 < memory.Value.Length)
                {
                    return (ushort)(memory.Value[offset] | memory.Value[offset + 1] << 8);
                }
            }
            return 0;
        }

        public uint ReadDoubleWord(ulong address, Antmicro.Renode.Peripherals.IPeripheral context = null, ulong? state = null)
        {
            return ReadWord(address) | (uint)ReadWord(address + 2) << 16;
        }

        public ulong Executed, Stack, Link;
        public Action<ulong, uint> BlockEnd;
        public readonly Dictionary<ulong, List<CpuAddressHook>> Hooks = new Dictionary<ulong, List<CpuAddressHook>>();
        public readonly Dictionary<ulong, byte[]> Memories = new Dictionary<ulong, byte[]>();
        private readonly string model;
    }

    public static class Program
    {
        public static void Main()
        {
            Core core = null;
            string line;
            while((line = Console.In.ReadLine()) != null)
            {
                if(line.StartsWith("call\t"))
                {
                    Call(core, line.Split('\t').Skip(1).ToArray());
                    Console.WriteLine("OK");
                    Console.Out.Flush();
                    continue;
                }
                var words = line.Split(' ');
                switch(words[0])
                {
                case "new":
                    core = new Core(words[1]);
                    break;
                case "memory":
                    core.Memories[ulong.Parse(words[1])] = File.ReadAllBytes(words[2]);
                    break;
                case "state":
                    core.Executed = ulong.Parse(words[1]);
                    core.Stack = ulong.Parse(words[2]);
                    core.Link = ulong.Parse(words[3]);
                    break;
                case "at":
                    foreach(var hook in core.Hooks[ulong.Parse(words[1])]) { hook(core, ulong.Parse(words[1])); }
                    break;
                case "ran":
                    if(core.BlockEnd != null) { core.BlockEnd(ulong.Parse(words[1]), uint.Parse(words[2])); }
                    break;
                default:
                    throw new ArgumentException(line);
                }
            }
        }

        private static void Call(Core core, string[] words)
        {
            var method = typeof(Tinysim.TinysimExtensions).GetMethod(words[0]);
            var parameters = method.GetParameters();
            var arguments = new object[parameters.Length];
            arguments[0] = core;
            for(var i = 1; i < parameters.Length; i++)
            {
                arguments[i] = i < words.Length ? Convert.ChangeType(words[i], parameters[i].ParameterType) : parameters[i].DefaultValue;
            }
            var result = method.Invoke(null, arguments);
            if(result != null) { Console.WriteLine(result); }
        }
    }
}
