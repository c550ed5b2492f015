// SPDX-License-Identifier: Apache-2.0
// A row of the table: one behaviour of sockets, by name, and what we expect of it. What is expected is data, all of it
// in expectations.cpp; what the behaviour does is a function, declared with BEHAVIOUR in one of the files of
// behaviours/.
#pragma once

#include <doctest/doctest.h>

#include <span>
#include <string_view>

#include "test/semantics/scene.h"

namespace underpass::test {

struct Row {
  std::string_view name;
  // The trait by which mode `auto` finds out that this workload belongs on TCP (a name of enum up_why). Empty: nothing
  // speaks against it, so it must have been short-circuited, in `on` and in `auto`.
  std::string_view trigger{};
  // What is different in mode `on`; docs/short-circuit.md has the same words. Empty: nothing is.
  std::string_view differs_in_on{};
  // The connection is declined for this reason (a name of enum up_why) and no fault of the workload's: it is direct in
  // `on` and in `auto`.
  std::string_view declined{};
  // What differs in mode `on` does so only where the agent has not led the connection back to TCP before it is looked
  // at: a quick agent, or a reader that is late, sees nothing of it.
  bool may_be_equal_in_on = false;
  // It differs in `auto` too: TCP_INFO's byte counters, and what only a program that is wrong already can see.
  bool differs_in_auto = false;
};

std::span<const Row> expectations();

using Behaviour = void (*)(Scene&);

// Runs the behaviour over a plain pair, over a pair in mode `on` and over one in mode `auto`, compares what was
// observed, checks what expectations() say of it, and notes the result for the table.
void compare(std::string_view name, Behaviour behave);

// Names for which a behaviour exists, in the order of the program.
std::span<const std::string_view> known_behaviours();
bool announce_behaviour(std::string_view name);

}  // namespace underpass::test

// A behaviour and the test case that compares it: BEHAVIOUR("group: what") { … scene … }
// NOLINTBEGIN(bugprone-macro-parentheses): they are names to be declared
#define UNDERPASS_BEHAVIOUR(function, announced, name)                       \
  static void function(::underpass::test::Scene& scene);                     \
  static const bool announced = ::underpass::test::announce_behaviour(name); \
  TEST_CASE(name) {                                                          \
    static_cast<void>(announced);                                            \
    ::underpass::test::compare(name, function);                              \
  }                                                                          \
  static void function([[maybe_unused]] ::underpass::test::Scene& scene)
#define BEHAVIOUR(name) UNDERPASS_BEHAVIOUR(DOCTEST_ANONYMOUS(behaviour_), DOCTEST_ANONYMOUS(announced_), name)
// NOLINTEND(bugprone-macro-parentheses)
