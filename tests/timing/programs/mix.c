/* Integer work of the kinds that compiled firmware is made of: a linked list that is searched, sorted and reversed, small
 * matrices, a state machine over text, and a CRC that folds all results together. mix(rounds) returns the CRC. */

typedef struct Node { struct Node *next; short value; short index; } Node;

enum { NODES = 40, SIDE = 9, TEXT = 120, STATES = 6 };

static Node nodes[NODES];
static short matrix_a[SIDE * SIDE], matrix_b[SIDE * SIDE];
static int matrix_c[SIDE * SIDE];
static unsigned char text[TEXT];
static unsigned visits[STATES];

unsigned short crc16_byte(unsigned char data, unsigned short crc)
{
    for (int bit = 0; bit < 8; bit++) {
        unsigned char carry = (unsigned char)((data & 1) ^ (crc & 1));
        data >>= 1;
        if (carry) {
            crc ^= 0x4002;
            crc >>= 1;
            crc |= 0x8000;
        } else {
            crc >>= 1;
        }
    }
    return crc;
}

unsigned short crc16(unsigned value, unsigned short crc)
{
    crc = crc16_byte((unsigned char)value, crc);
    return crc16_byte((unsigned char)(value >> 8), crc);
}

static Node *list_make(unsigned seed)
{
    for (int i = 0; i < NODES; i++) {
        seed = seed * 1103515245u + 12345u;
        nodes[i].value = (short)((seed >> 16) & 0x3ff);
        nodes[i].index = (short)i;
        nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : 0;
    }
    return nodes;
}

static Node *list_find(Node *list, short value)
{
    while (list && list->value != value)
        list = list->next;
    return list;
}

static Node *list_reverse(Node *list)
{
    Node *done = 0;
    while (list) {
        Node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static int by_value(const Node *a, const Node *b) { return a->value - b->value; }
static int by_index(const Node *a, const Node *b) { return a->index - b->index; }

static Node *list_sort(Node *list, int (*compare)(const Node *, const Node *))
{
    for (int width = 1;; width *= 2) {
        Node *p = list, *tail = 0;
        int merges = 0;
        list = 0;
        while (p) {
            Node *q = p;
            int p_left = 0, q_left = width;
            merges++;
            for (int i = 0; i < width && q; i++) {
                p_left++;
                q = q->next;
            }
            while (p_left > 0 || (q_left > 0 && q)) {
                Node *taken;
                if (p_left == 0) {
                    taken = q; q = q->next; q_left--;
                } else if (q_left == 0 || !q || compare(p, q) <= 0) {
                    taken = p; p = p->next; p_left--;
                } else {
                    taken = q; q = q->next; q_left--;
                }
                if (tail)
                    tail->next = taken;
                else
                    list = taken;
                tail = taken;
            }
            p = q;
        }
        tail->next = 0;
        if (merges <= 1)
            return list;
    }
}

static unsigned short list_work(unsigned seed, unsigned short crc)
{
    Node *list = list_make(seed);
    for (short want = 0; want < 6; want++) {
        Node *found = list_find(list, (short)(nodes[want * 5].value + (want & 1)));
        crc = crc16(found ? (unsigned)found->index : 0xffffu, crc);
        list = list_reverse(list);
    }
    list = list_sort(list, by_value);
    for (Node *node = list; node; node = node->next)
        crc = crc16((unsigned)node->value, crc);
    list = list_sort(list, by_index);
    return crc16((unsigned)list->value, crc);
}

static unsigned short matrix_work(unsigned seed, unsigned short crc)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        seed = seed * 1103515245u + 12345u;
        matrix_a[i] = (short)(seed >> 16);
        matrix_b[i] = (short)(seed >> 8);
    }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            int sum = 0;
            for (int k = 0; k < SIDE; k++)
                sum += matrix_a[i * SIDE + k] * matrix_b[k * SIDE + j];
            matrix_c[i * SIDE + j] = sum;
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            int sum = 0;
            for (int k = 0; k < SIDE; k++) {
                int product = matrix_a[i * SIDE + k] * matrix_b[k * SIDE + j];
                sum += ((product >> 2) & 15) * ((product >> 5) & 127);
            }
            matrix_c[i * SIDE + j] += sum;
        }
    int running = 0, last = 0;
    unsigned peaks = 0;
    for (int i = 0; i < SIDE * SIDE; i++) {
        running += matrix_c[i];
        if (running > 100000) {
            peaks += 10;
            running = 0;
        } else {
            peaks += matrix_c[i] > last ? 1 : 0;
        }
        last = matrix_c[i];
    }
    return crc16((unsigned)(peaks + (unsigned)matrix_c[7] / (1 + (peaks & 15))), crc);
}

typedef enum { START, NUMBER, FRACTION, EXPONENT, WORD, INVALID } State;

static State next_state(State state, unsigned char c)
{
    switch (state) {
    case START:
        if (c >= '0' && c <= '9') return NUMBER;
        if (c == '+' || c == '-') return NUMBER;
        if (c == '.') return FRACTION;
        return c >= 'a' ? WORD : INVALID;
    case NUMBER:
        if (c == '.') return FRACTION;
        if (c == 'e') return EXPONENT;
        return c >= '0' && c <= '9' ? NUMBER : INVALID;
    case FRACTION:
        if (c == 'e') return EXPONENT;
        return c >= '0' && c <= '9' ? FRACTION : INVALID;
    case EXPONENT:
        return (c >= '0' && c <= '9') || c == '-' ? EXPONENT : INVALID;
    case WORD:
        return c >= 'a' && c <= 'z' ? WORD : INVALID;
    default:
        return INVALID;
    }
}

static unsigned short state_work(unsigned seed, unsigned short crc)
{
    static const unsigned char letters[] = "0123456789.e-+abc,,,";
    for (int i = 0; i < TEXT; i++) {
        seed = seed * 1103515245u + 12345u;
        text[i] = letters[(seed >> 20) % (sizeof letters - 1)];
    }
    State state = START;
    for (int i = 0; i < TEXT; i++) {
        if (text[i] == ',') {
            visits[state]++;
            state = START;
        } else {
            state = next_state(state, text[i]);
        }
        text[i] ^= (unsigned char)state;
    }
    for (int i = 0; i < STATES; i++)
        crc = crc16(visits[i], crc);
    return crc;
}

unsigned mix(unsigned rounds)
{
    unsigned short crc = 0;
    for (unsigned round = 0; round < rounds; round++) {
        crc = list_work(round + 1, crc);
        crc = matrix_work(round + 7, crc);
        crc = state_work(round + 3, crc);
    }
    return crc;
}
