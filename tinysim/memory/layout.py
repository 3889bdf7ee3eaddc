"""Where things are in the flat int64 array of a memory system. Offsets are in words.

The array is: header, page table, windows (they partition the 32-bit address space), then one block for each set of
flash lines and each cache. Blocks begin with their own configuration and counters, then their tables.
"""

from __future__ import annotations

__all__: list[str] = []        # names are imported one by one; there are many and none is public

# header
(
    H_KIND,                    # a KIND_ below
    H_FETCH_BASE,              # the current fetch row: [base, end), and the cycle its data is there
    H_FETCH_END,
    H_FETCH_READY,
    H_FETCH_STALL,             # counter: cycles fetches waited
    H_READ_STALL,              # counter: cycles reads waited
    H_WRITE_STALL,             # counter: cycles writes waited
    H_FETCHES,                 # counter
    H_READS,                   # counter
    H_WRITES,                  # counter
    H_CAUSE,                   # cause of the latest stall: a CAUSE_ below
    H_DATA_CACHE,              # offset of the data cache, 0 for none
    H_WINDOWS,                 # offset of the first window
    H_WINDOW_COUNT,
) = range(14)
KIND_IDEAL, KIND_SIMULATED = range(2)    # ideal: nothing else in the array need be there
HEADER_WORDS = 32
PORT_WORDS = 16                # first cycle each memory array is free, one word for each slave; behind the header
PORTS = HEADER_WORDS
FIRST_LOADS = PORTS + PORT_WORDS         # W_FIRST by slave
RECENT = FIRST_LOADS + PORT_WORDS
PAGES = RECENT + 64 * 4                  # RECENT_LINES entries of RECENT_WORDS
PAGE_SHIFT = 20                # one page table entry for each MiB
PAGE_WORDS = 1 << (32 - PAGE_SHIFT)

# causes
CAUSE_NONE, CAUSE_FLASH, CAUSE_CACHE_MISS, CAUSE_EVICTION, CAUSE_BUS, CAUSE_PREFETCH = range(6)

# window
(
    W_BASE,
    W_END,
    W_SLAVE,
    W_FIRST,
    W_FETCH_PATH,              # a PATH_ below
    W_DATA_PATH,
    W_FETCH_BLOCK,             # offset of the lines or cache that serve fetches
    W_DATA_BLOCK,
    W_FETCH_EXTRA,             # cycles every fetch, read, write costs on the direct path
    W_READ_EXTRA,
    W_WRITE_EXTRA,
    W_ARRAY,                   # cycles of one read of the memory's array, for line fills
    W_TRANSPORT,               # cycles from the array to the core
    W_ROW,                     # bytes one read of the array delivers
    W_PORT,                    # offset of the word that says when the array is free
    W_WRITE_BACK,              # 1: stores stay in the cache; 0: written through
    W_ALLOCATE,                # 1: a store that misses fetches its line
    W_FETCH_ROW,               # bytes one fetch on the direct path brings in
) = range(18)
WINDOW_WORDS = 20
PATH_DIRECT, PATH_LINES, PATH_CACHE = range(3)
SLAVE_OTHER = 15

# flash lines (accelerators): configuration and counters, then tables
(
    S_SETS,
    S_WAYS,
    S_ROW_SHIFT,               # a row is 2 ** S_ROW_SHIFT bytes
    S_ROWS_SHIFT,              # a line is 2 ** S_ROWS_SHIFT rows
    S_REPLACEMENT,
    S_FILL,
    S_ROW_CYCLES,              # cycles from one row to the next of a background fill
    S_WAIT,                    # cycles from the start of a read to its data, less one
    S_ENABLED,
    S_PREFETCH,
    S_PORT,
    S_LAST,                    # current row, and when its data is there
    S_READY,
    S_CLOCK,
    S_RANDOM,
    S_NEXT_ROW,                # row in the prefetch buffer, and when its data is there
    S_NEXT_READY,
    S_ACCESSES,                # counters from here on
    S_MISSES,                  # rows that had to be read for the access that waited
    S_LINE_MISSES,             # of these, how many found their line absent
    S_ROWS,                    # rows read, background fills included
    S_STALL,
    S_PORT_WAIT,               # cycles waited because the port was busy
    S_PREFETCH_HITS,
    S_TAGS,                    # offsets of the tables, relative to the block
    S_STAMPS,
    S_ROWS_READY,
    S_HINTS,
    S_PRESENT,
) = range(29)
LINES_WORDS = 32
# two tables of this many words, by the end of a line's number: a slot to try first, how many such lines are kept
HINT_WORDS = 256
NEVER = 1 << 60

# L1 cache
(
    C_SETS,
    C_WAYS,
    C_LINE_SHIFT,
    C_REPLACEMENT,
    C_BUFFERS,                 # line-fill buffers
    C_EVICTION,                # cycles a dirty eviction adds to the miss
    C_STORE_MISS,              # cycles a store that misses waits
    C_LAST,                    # line of the latest access, and its slot
    C_LAST_SLOT,
    C_CLOCK,
    C_RANDOM,
    C_ACCESSES,                # counters from here on
    C_MISSES,
    C_STORE_MISSES,
    C_EVICTIONS,
    C_STALL,
    C_PORT_WAIT,
    C_BUFFER_WAIT,
    C_TAGS,                    # offsets of the tables, relative to the block
    C_STAMPS,
    C_DIRTY,
    C_DONE,                    # cycle the whole line is there
    C_FIRST,                   # cycle its critical row is there
    C_CRITICAL,                # that row's number
    C_STEP,                    # cycles from row to row
    C_ROW_SHIFT,
    C_BUFFER_FREE,
) = range(27)
CACHE_WORDS = 32
# lines of the data cache that are there as a whole, by the end of their number: line, slot, whether stores stay in it
RECENT_LINES = 64
RECENT_WORDS = 4
R_LINE, R_SLOT, R_WRITE_BACK = range(3)

# replacement
LRU, FIFO, RANDOM, ROUND_ROBIN = range(4)
# fill of a flash line after a miss
(
    FILL_ROW,                  # only the requested row
    FILL_WRAP,                 # the requested row first, the rest of the line, wrapping, in the background
    FILL_TO_END,               # the requested row first, the rows up to the end of the line in the background
    FILL_BLOCKING,             # the whole line, the core waits for it
    FILL_FROM_START,           # the line from its start, the core waits for its row only
) = range(5)
