// SPDX-License-Identifier: Apache-2.0
// Which of the other suites' test cases run on the test kernels: those that touch what differs between kernels, and are
// short enough for an emulated processor, on which each start of an agent takes some ten seconds.
#pragma once

#include <string>
#include <vector>

namespace underpass::kernels {

struct Suite {
  std::string step;
  std::string program;
  bool accelerated = false;          // asks for short-circuit: not run where the kernel stays on TCP
  std::vector<std::string> cases{};  // doctest's patterns, so a comma is a `?`; empty: all
  unsigned streams = 40;             // random streams in each case that runs some
};

inline const std::vector<Suite> kSuites{
    {.step = "bpf", .program = "bpf_tests"},
    // Policy is in force on kernels without short-circuit, too.
    {.step = "policy",
     .program = "policy_tests",
     .cases = {"policy: an ALLOW lets in*", "policy: who is not of the mesh*", "policy: what is denied is counted*",
               "policy: a live connection*"}},
    {.step = "harness", .program = "harness_tests", .cases = {"pods reach each other*", "a task asleep*"}},
    {.step = "integrity",
     .program = "integrity_tests",
     .accelerated = true,
     .cases = {"bytes that are queued when the sender closes*", "an aborted connection*",
               "an option that is set in mid-stream*", "MPTCP sockets*", "SO_RCVLOWAT set early*",
               "a reader that sleeps in recv() from*", "several readers asleep*",
               "short-circuit: the peer's half-close*", "random streams whose readers wait in poll*", "TCP Fast Open*",
               "connections tell the truth*"}},
    {.step = "calls past recv()",
     .program = "integrity_tests",
     .accelerated = true,
     .cases = {"a reader that splices*", "a first splice*", "after a splice*", "whoever asks FIONREAD*",
               "a close with unread*"}},
    {.step = "learning",
     .program = "lifecycle_tests",
     .accelerated = true,
     .cases = {"auto: what a short circuit*", "auto: a workload that splices*"}},
    // Many small messages are what an emulated processor is slowest at.
    {.step = "small messages",
     .program = "integrity_tests",
     .accelerated = true,
     .cases = {"streams of small messages*", "two writers*"},
     .streams = 6},
    {.step = "lifecycle",
     .program = "lifecycle_tests",
     .accelerated = true,
     .cases = {"an agent that is stopped*", "a full queue outlives*", "detach waits for a slow reader*",
               "a label makes*"}},
    {.step = "semantics",
     .program = "semantics_tests",
     .accelerated = true,
     .cases = {"reading: MSG_PEEK", "reading: MSG_WAITALL from the first byte", "closing: half-close both ways",
               "waiting: epoll? edge", "pages: sendfile into the socket", "establishing: TCP_DEFER_ACCEPT"}},
};

}  // namespace underpass::kernels
