// SPDX-License-Identifier: Apache-2.0
// A watched folder, from changes of real files to the snapshots that come of them.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "agent/k8s/dir_source.h"
#include "agent/state/store.h"
#include "test/support/temp_folder.h"

namespace underpass::k8s {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::TempFolder;

std::string make_namespace(const std::string& name, const std::string& mesh = "enabled") {
  return "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + name +
         "\n  labels:\n    underpass.dev/mesh: " + mesh + "\n";
}

// The folder "objects" in a temporary one, its source, and a store behind it.
class Watched {
 public:
  Watched() { fs::create_directory(objects()); }

  [[nodiscard]] fs::path objects() const { return temp / "objects"; }
  void write(const std::string& name, const std::string& text) const { temp.write("objects/" + name, text); }

  void start() {
    auto opened = DirSource::open(io, objects(), [this](const Contents& contents) {
      ++told;
      store.update(contents);
    });
    REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
    source = std::move(*opened);
    source->start();
  }

  // Runs the source until `condition` holds; false at the deadline.
  template <typename Condition>
  bool eventually(Condition&& condition) {
    const auto deadline = Clock::now() + 20s;
    while (!condition()) {
      if (Clock::now() > deadline) return false;
      io.run_one_for(20ms);
    }
    return true;
  }

  // "a b; stale c: cause": namespaces and diagnostics.
  [[nodiscard]] std::string text() const {
    std::string out;
    for (const auto& [name, ns] : store.snapshot()->namespaces) {
      out += (out.empty() ? "" : " ") + name + (ns.settings.mesh == true ? "" : "=off");
    }
    for (const auto& diagnostic : store.snapshot()->diagnostics) {
      out += diagnostic.state == model::Diagnostic::State::kStale ? "; stale " : "; refused ";
      out += (diagnostic.id.name.empty() ? fs::path(diagnostic.path).filename().string() : diagnostic.id.name) + ": " +
             diagnostic.cause;
    }
    return out;
  }

  bool becomes(const std::string& wanted) {
    const bool ok = eventually([&] { return text() == wanted; });
    if (!ok) MESSAGE("wanted: " << wanted << "\nand got: " << text());
    return ok;
  }

  TempFolder temp;
  boost::asio::io_context io;
  state::Store store;
  int told = 0;
  std::unique_ptr<DirSource> source;
};

constexpr const char* kWriting = "open for writing: it is read when the writer has closed it";

TEST_CASE("dir source: a folder that is not there, or none, is an error") {
  const TempFolder temp;
  boost::asio::io_context io;
  const auto open = [&](const fs::path& path) {
    const auto source = DirSource::open(io, path, [](const Contents&) {});
    return source.has_value() ? "it opens" : source.error().message;
  };
  const auto absent = temp / "absent";
  CHECK(open(absent) == "source dir:" + absent.string() + ": No such file or directory");
  temp.write("file", "");
  CHECK(open(temp / "file") == "source dir:" + (temp / "file").string() + ": Not a directory");
}

TEST_CASE("dir source: the first contents are told by start()") {
  Watched watched;
  watched.write("a.yaml", make_namespace("a"));
  watched.start();
  CHECK(watched.told == 1);
  CHECK(watched.text() == "a");
}

TEST_CASE("dir source: every way of changing a file is seen") {
  Watched watched;
  watched.start();
  CHECK(watched.text() == "");

  watched.write("a.yaml", make_namespace("a"));
  CHECK(watched.becomes("a"));
  watched.write("a.yaml", make_namespace("a", "disabled"));
  CHECK(watched.becomes("a=off"));
  watched.temp.replace("objects/a.yaml", make_namespace("b"));
  CHECK(watched.becomes("b"));
  watched.write(".a.yaml.swp", make_namespace("c"));
  fs::rename(watched.objects() / ".a.yaml.swp", watched.objects() / "a.yaml");
  CHECK(watched.becomes("c"));
  {
    std::ofstream append(watched.objects() / "a.yaml", std::ios::app);
    append << "---\n" << make_namespace("d");
  }
  CHECK(watched.becomes("c d"));
  fs::rename(watched.objects() / "a.yaml", watched.objects() / "b.yaml");
  watched.write("c.yaml", make_namespace("e"));
  CHECK(watched.becomes("c d e"));
  fs::rename(watched.objects() / "b.yaml", watched.objects() / "b.off");
  CHECK(watched.becomes("e"));
  fs::create_hard_link(watched.objects() / "b.off", watched.objects() / "d.yaml");
  CHECK(watched.becomes("c d e"));
  fs::remove(watched.objects() / "d.yaml");
  CHECK(watched.becomes("e"));
  fs::resize_file(watched.objects() / "c.yaml", 20);  // truncate(2): no writer ever opens it
  CHECK(watched.becomes("e; stale e: kind: missing: not a Kubernetes object"));
}

TEST_CASE("dir source: a file in the middle of being written changes nothing") {
  Watched watched;
  const auto whole = make_namespace("a") + "---\n" + make_namespace("b");
  watched.write("a.yaml", whole);
  watched.start();

  // Every cut of the text, and after each a change elsewhere, which shows that the half has been seen too.
  auto writer = watched.temp.open_to_write("objects/a.yaml");
  const std::string stale = std::string("; stale a: ") + kWriting + "; stale b: " + kWriting;
  std::size_t written = 0;
  for (const std::size_t cut : {std::size_t{0}, std::size_t{30}, make_namespace("a").size() - 12,
                                make_namespace("a").size(), whole.size() - 1}) {
    test::write_all(writer.get(), std::string_view(whole).substr(written, cut - written));
    written = cut;
    const auto other = "x" + std::to_string(cut);
    watched.write("x.yaml", make_namespace(other));
    CHECK(watched.becomes("a b " + other + stale));
  }
  test::write_all(writer.get(), std::string_view(whole).substr(written));
  writer.reset();
  CHECK(watched.becomes("a b x" + std::to_string(written)));
}

TEST_CASE("dir source: a text that does not parse, or is empty, keeps what it held") {
  Watched watched;
  watched.write("a.yaml", make_namespace("a"));
  watched.start();
  watched.write("a.yaml", make_namespace("a", "[disabled"));
  CHECK(watched.becomes("a; stale a: end of sequence flow not found"));
  watched.write("a.yaml", "");
  CHECK(watched.becomes("a; stale a: empty: delete the file to delete what it held"));
  watched.write("a.yaml", make_namespace("a", "maybe"));
  CHECK(watched.becomes("a; stale a: \"maybe\": must be one of enabled, disabled"));
  watched.write("a.yaml", make_namespace("a", "disabled"));
  CHECK(watched.becomes("a=off"));
  watched.write("b.yaml", "{");
  CHECK(watched.becomes("a=off; refused b.yaml:1: end of map flow not found"));
  fs::remove(watched.objects() / "a.yaml");
  fs::remove(watched.objects() / "b.yaml");
  CHECK(watched.becomes(""));
}

TEST_CASE("dir source: the folder goes and comes back") {
  Watched watched;
  watched.write("a.yaml", make_namespace("a"));
  watched.start();
  SUBCASE("removed and made anew") {
    fs::remove_all(watched.objects());
    CHECK(watched.becomes("a; stale objects: No such file or directory"));
    fs::create_directory(watched.objects());
    CHECK(watched.becomes("a; stale objects: came back empty"));
    watched.write("b.yaml", make_namespace("b"));
    CHECK(watched.becomes("b"));
  }
  SUBCASE("moved away and back") {
    fs::rename(watched.objects(), watched.temp / "elsewhere");
    CHECK(watched.becomes("a; stale objects: No such file or directory"));
    watched.temp.write("elsewhere/b.yaml", make_namespace("b"));
    fs::rename(watched.temp / "elsewhere", watched.objects());
    CHECK(watched.becomes("a b"));
  }
  SUBCASE("another one in its place") {
    fs::create_directory(watched.temp / "next");
    watched.temp.write("next/c.yaml", make_namespace("c"));
    fs::rename(watched.objects(), watched.temp / "last");
    fs::rename(watched.temp / "next", watched.objects());
    CHECK(watched.becomes("c"));
    watched.temp.write("last/a.yaml", make_namespace("x"));  // watched no more
  }
  SUBCASE("a file in its place") {
    fs::remove_all(watched.objects());
    watched.temp.write("objects", "");
    CHECK(watched.becomes("a; stale objects: Not a directory"));
    fs::remove(watched.objects());
    fs::create_directory(watched.objects());
    watched.write("b.yaml", make_namespace("b"));
    CHECK(watched.becomes("b"));
  }
  // Whatever it was, changes are seen again.
  watched.write("z.yaml", make_namespace("z"));
  CHECK(watched.eventually([&] { return watched.store.snapshot()->namespaces.contains("z"); }));
  CHECK(watched.store.snapshot()->diagnostics.empty());
}

TEST_CASE("dir source: its path may be a link to one folder, then to another") {
  Watched watched;
  fs::rename(watched.objects(), watched.temp / "one");
  watched.temp.write("one/a.yaml", make_namespace("a"));
  fs::create_directory(watched.temp / "two");
  watched.temp.write("two/a.yaml", make_namespace("b"));
  fs::create_directory_symlink("one", watched.objects());
  watched.start();
  CHECK(watched.text() == "a");
  fs::create_directory_symlink("two", watched.temp / "next");
  fs::rename(watched.temp / "next", watched.objects());
  CHECK(watched.becomes("b"));
  watched.temp.write("two/a.yaml", make_namespace("c"));
  CHECK(watched.becomes("c"));
}

TEST_CASE("dir source: a mounted ConfigMap is swapped as a whole") {
  Watched watched;
  const auto& temp = watched.temp;
  fs::create_directory(temp / "objects/..1");
  temp.write("objects/..1/a.yaml", make_namespace("a"));
  temp.write("objects/..1/b.yaml", make_namespace("b"));
  fs::create_directory_symlink("..1", temp / "objects/..data");
  fs::create_symlink("..data/a.yaml", temp / "objects/a.yaml");
  fs::create_symlink("..data/b.yaml", temp / "objects/b.yaml");
  watched.start();
  CHECK(watched.text() == "a b");

  fs::create_directory(temp / "objects/..2");
  temp.write("objects/..2/a.yaml", make_namespace("a", "disabled"));
  temp.write("objects/..2/b.yaml", make_namespace("c"));
  fs::create_directory_symlink("..2", temp / "objects/..data_tmp");
  fs::rename(temp / "objects/..data_tmp", temp / "objects/..data");
  fs::remove_all(temp / "objects/..1");
  CHECK(watched.becomes("a=off c"));
}

TEST_CASE("dir source: a FIFO does not stop it") {
  Watched watched;
  watched.write("a.yaml", make_namespace("a"));
  test::require(::mkfifo((watched.objects() / "b.yaml").c_str(), 0600) == 0, "mkfifo");
  watched.start();
  CHECK(watched.text() == "a; refused b.yaml: not a regular file");
  watched.write("c.yaml", make_namespace("c"));
  CHECK(watched.becomes("a c; refused b.yaml: not a regular file"));
  fs::remove(watched.objects() / "b.yaml");
  CHECK(watched.becomes("a c"));
}

TEST_CASE("dir source: a thousand files at once are one change or a few") {
  Watched watched;
  watched.start();
  for (int i = 0; i < 1000; ++i)
    watched.write("ns-" + std::to_string(i) + ".yaml", make_namespace("n" + std::to_string(i)));
  CHECK(watched.eventually([&] { return watched.store.snapshot()->namespaces.size() == 1000; }));
  CHECK(watched.store.snapshot()->diagnostics.empty());
  CHECK(watched.told <= 10);
}

TEST_CASE("dir source: unceasing changes do not put it off for ever") {
  Watched watched;
  watched.write("a.yaml", make_namespace("a"));
  watched.start();
  watched.write("noise.txt", "");
  watched.write("b.yaml", make_namespace("b"));
  int change = 0;
  const auto start = Clock::now();
  CHECK(watched.eventually([&] {  // touched more often than a burst could settle
    fs::permissions(watched.objects() / "noise.txt", ++change % 2 == 0 ? fs::perms::owner_all : fs::perms::owner_read);
    return watched.text() == "a b";
  }));
  CHECK(Clock::now() - start < 5s);
}

TEST_CASE("dir source: more events than the kernel's queue holds") {
  Watched watched;
  watched.write("a.yaml", make_namespace("a"));
  watched.start();
  int queue = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queue;
  REQUIRE(queue > 0);
  if (queue > 200'000) {
    MESSAGE("SKIPPED: fs.inotify.max_queued_events is " << queue << ": too many to overflow in a test");
    return;
  }
  const auto noise = watched.objects() / "noise.txt";
  for (int i = 0; i <= queue / 2; ++i) {  // two events each
    fs::create_symlink("nowhere", noise);
    fs::remove(noise);
  }
  watched.write("a.yaml", make_namespace("a", "disabled"));
  watched.write("b.yaml", make_namespace("b"));
  CHECK(watched.becomes("a=off b"));
}

TEST_CASE("dir source: destroyed, it is silent") {
  Watched watched;
  watched.start();
  watched.write("a.yaml", make_namespace("a"));
  watched.io.run_one_for(20ms);
  watched.source.reset();
  watched.io.run_for(2s);  // returns as soon as nothing is left to do
  CHECK(watched.io.stopped());
  CHECK(watched.told == 1);
}

}  // namespace
}  // namespace underpass::k8s
