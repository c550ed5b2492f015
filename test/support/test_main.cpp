// SPDX-License-Identifier: Apache-2.0
// The main() of every test program that touches the kernel.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <iostream>

#include "test/support/supervisor.h"

int main(int argc, char** argv) {
  std::cout << std::unitbuf;  // what a test has said must be seen when it hangs and is killed
  return underpass::test::run_supervised([&] { return doctest::Context(argc, argv).run(); });
}
