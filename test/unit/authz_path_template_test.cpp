// SPDX-License-Identifier: Apache-2.0
// Path templates: Istio's examples and what lies at their edges.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "userspace_proxy/authz/path_template.h"

namespace underpass::authz {
namespace {

TEST_CASE("authz: a path template matches segments") {
  struct Row {
    std::string text;
    std::string path;
    bool matches;
  };
  const std::vector<Row> rows{
      // security.istio.io/v1, operation.paths
      {"/foo/{*}", "/foo/bar", true},
      {"/foo/{*}", "/foo/bar/baz", false},
      {"/foo/{**}/", "/foo/bar/", true},
      {"/foo/{**}/", "/foo//", true},
      {"/foo/{**}/", "/foo/bar", false},
      {"/foo/{**}/", "/foo/bar/baz.txt", false},  // as Envoy, not as the reference: see path_template.h
      {"/foo/{*}/bar/{**}", "/foo/buzz/bar/", true},
      {"/foo/{*}/bar/{**}", "/foo/buzz/bar/baz", true},
      // One segment
      {"/foo/{*}", "/foo/", false},
      {"/foo/{*}", "/foo", false},
      {"/foo/{*}", "/foo/bar/", false},
      {"/foo/{*}/", "/foo/bar/", true},
      {"/foo/{*}/", "/foo/bar", false},
      {"/foo/{*}/x", "/foo/a/x", true},
      {"/foo/{*}/x", "/foo//x", false},
      {"/foo/{*}/x", "/foo/a/b/x", false},
      {"/foo/{*}/x", "/foo/a/xx", false},
      {"/foo/{*}/x", "/foo/x", false},
      {"/{*}", "/a", true},
      {"/{*}", "/", false},
      {"/{*}/{*}", "/a/b", true},
      {"/{*}/{*}", "/a", false},
      {"/{*}/{*}", "/a/b/c", false},
      {"/{*}/b/{*}", "/b/b/b", true},
      {"/foo/{*}", "/foo/a=b*c%20;d", true},
      {"/foo/{*}", "/FOO/bar", false},
      {"/foo/{*}", "/foo/{*}", true},
      // Any number
      {"/{**}", "/", true},
      {"/{**}", "/a/b/c", true},
      {"/{**}", "", false},
      {"/foo/{**}", "/foo/", true},
      {"/foo/{**}", "/foo", false},
      {"/foo/{**}", "/foobar", false},
      {"/foo/{**}/bar", "/foo/bar", false},
      {"/foo/{**}/bar", "/foo//bar", true},
      {"/foo/{**}/bar", "/foo/a/bar", true},
      {"/foo/{**}/bar", "/foo/a/b/bar", true},
      {"/foo/{**}/bar", "/foo/a/bar/b", false},
      {"/foo/{**}/bar/baz", "/foo/bar/bar/baz", true},
      {"/foo/{**}/bar", "/foo/a/xbar", false},
      {"/{*}/foo/{**}/bar.tmp", "/a/foo/b/c/bar.tmp", true},
      {"/{*}/foo/{**}/bar.tmp", "/foo/b/c/bar.tmp", false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    CAPTURE(row.path);
    const auto found = PathTemplate::parse(row.text);
    REQUIRE(found);
    CHECK(found->matches(row.path) == row.matches);
    if (row.matches) CHECK(row.path.starts_with(found->start()));
  }
}

TEST_CASE("authz: a path template that Istio refuses is refused, and why is said") {
  struct Row {
    std::string text;
    std::string cause;
  };
  const std::string alone = "*, { and } may stand in {*} and {**} alone, and other characters must be a path's";
  const std::vector<Row> rows{
      {"/*/baz/{*}", alone},
      {"/**/baz/{*}", alone},
      {"/{**}/foo/{*}", "{**} must be the last operator"},
      {"/{**}/{**}", "{**} must be the last operator"},
      {"/foo/{*}.txt", "{*} and {**} must be whole segments"},
      {"/foo/a{**}", "{*} and {**} must be whole segments"},
      {"/{*}{*}", "{*} and {**} must be whole segments"},
      {"/foo/{bar}/{*}", alone},
      {"/foo/{bar=*}/{*}", alone},
      {"/{}/{*}", alone},
      {"/{*}/a?b", alone},
      {"/{*}/a#b", alone},
      {"/{*}/a b", alone},
      {"/{*}/\xc3\xa4", alone},
      {"/{*}//a", "has an empty segment"},
      {"foo/{*}", "a template must begin with /"},
      {"{*}", "a template must begin with /"},
      {"", "a template must begin with /"},
      {"/", "has neither {*} nor {**}"},
      {"/foo", "has neither {*} nor {**}"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto found = PathTemplate::parse(row.text);
    REQUIRE(!found);
    CHECK(found.error().message == row.cause);
  }
}

}  // namespace
}  // namespace underpass::authz
