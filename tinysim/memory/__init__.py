"""The memory system of a part as a small native simulator: what each instruction fetch and data access waits for.

A pipeline calls three compiled functions (`tinysim.memory.access`), each with the same flat array ``m`` (NumPy int64,
one contiguous allocation: configuration, tables and counters, no Python object, so that a compiled hook can hold its
address)::

    config = configure(part, register_writes, clock_hz)     # MemoryConfig
    m = config.fresh()                                      # a cold memory system: its state changes with every access

    stall = fetch(m, address, time)              # one instruction fetch (M4: a word; M7: 8 bytes)
    w = window(m, address)                       # which window of the memory map a data address is in: an offset into m
    stall = read(m, w, address, time)            # one data word
    stall = write(m, w, address, time)

``time`` is the cycle of the access's address phase; memory without wait states has the data at ``time + 1``, and
``stall`` is how many cycles later than that it arrives. Calls must come in the order in which the core puts requests
on its buses: a flash port busy with an earlier request delays a later one. A word that crosses a 4-byte boundary is
two reads; an M7 access of 8 bytes inside one cache line is one. On the M7 the returned stall is the delay of the
loaded *value*: whether the pipeline waits for it or goes on until the value is used is the pipeline's business.

What the pipeline may read from a window, because it depends on neighbouring instructions:

- ``m[w + W_SLAVE]``: the bus slave; loads from different slaves do not pipeline. ``SLAVE_OTHER`` for what is no memory.
- ``m[w + W_FIRST]``: extra cycles of the first load of a run of adjacent loads to one slave (the bus matrix's grant).

Counters are words of ``m`` at fixed places; :meth:`MemoryConfig.counters` reads them. :func:`ideal` makes a
configuration in which nothing ever stalls, so that one pipeline serves both.
"""
