// Names of every kind for the tests of Image: overloads, namespaces, templates, a static function, constants, data.
namespace shape {
int area(int side) { return side * side; }
int area(int width, int height) { return width * height; }
template <typename T>
T largest(T a, T b) { return a > b ? a : b; }
struct Box {
  int width, height;
  int area() const;
};
int Box::area() const { return width * height; }
}  // namespace shape

static __attribute__((noinline)) int hidden(int x) { return x + 1; }

extern "C" {
const int table[4] = {1, 2, 3, 4};
int counter = 5;
int zeros[16];
volatile int sink;

int plain(int x) {
  shape::Box box{x, x + 1};
  sink = shape::area(x) + shape::area(x, 2) + shape::largest(x, 3) + box.area() + hidden(x) + table[x & 3];
  return counter + zeros[x & 15];
}

__attribute__((noreturn)) void start() {
  plain(1);
  for (;;) {
  }
}
}
