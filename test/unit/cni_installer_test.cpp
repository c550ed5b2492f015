// SPDX-License-Identifier: Apache-2.0
// Installing on a node made of folders: which list gets the entry, what others do to it meanwhile, and that taking it
// away leaves what was there.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "agent/cni/install_steps.h"
#include "agent/cni/installer.h"
#include "agent/cni/node_folder.h"
#include "test/support/eventually.h"
#include "test/support/io_thread.h"
#include "test/support/temp_folder.h"

namespace underpass::cni {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::eventually;
using test::IoThread;
using test::TempFolder;

std::string list(const std::string& name, const std::string& version = "1.0.0") {
  return "{ \"cniVersion\": \"" + version + "\", \"name\": \"" + name +
         "\",\n  \"plugins\": [ {\"type\": \"bridge\"}, {\"type\": \"portmap\"} ]\n}\n";
}
const std::string kSingle = "{\"cniVersion\": \"0.4.0\", \"name\": \"one\", \"type\": \"bridge\"}\n";

// The folders of a node, and the binary to install.
class Node {
 public:
  Node() {
    fs::create_directory(temp / "bin");
    fs::create_directory(temp / "net.d");
    temp.write("plugin", "#!the plugin\n");
    options = {.plugin = (temp / "plugin").string(),
               .bin_dir = (temp / "bin").string(),
               .conf_dir = (temp / "net.d").string(),
               .socket = "/run/underpass/cni.sock",
               .enrolment = "/var/lib/underpass/enrolment.json",
               .cache_dir = (temp / "cache").string(),
               .grace = 0ms};
  }

  void write(const std::string& name, const std::string& text) const { temp.write("net.d/" + name, text); }
  void replace(const std::string& name, const std::string& text) const { temp.replace("net.d/" + name, text); }
  [[nodiscard]] fs::path conf(const std::string& name) const { return temp / ("net.d/" + name); }
  [[nodiscard]] fs::path program() const { return temp / "bin/underpass-cni"; }
  [[nodiscard]] bool has_program() const { return fs::exists(program()); }

  [[nodiscard]] static std::string read(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  [[nodiscard]] bool names_us(const std::string& name) const {
    return read(conf(name)).find(R"("type":"underpass-cni")") != std::string::npos;
  }
  [[nodiscard]] std::map<std::string, std::string> folder() const {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::directory_iterator(temp / "net.d")) out[entry.path().filename()] = read(entry.path());
    return out;
  }

  TempFolder temp;
  InstallOptions options;
};

TEST_CASE("cni install: the program is there first, and the list that the runtime uses has the entry") {
  const Node node;
  node.write("20-later.conflist", list("later"));
  node.write("10-first.conflist", list("first"));
  node.write("05-broken.conflist", "{");
  node.write("00-readme.txt", "no list");
  node.write("01-list.conf", list("a list is no single plugin"));
  const auto before = node.folder();

  const auto state = install_now(node.options);
  CHECK_MESSAGE(state.in_place, state.problem);
  CHECK(state.changed);
  CHECK(state.problem.empty());
  CHECK(state.configuration == node.conf("10-first.conflist"));
  CHECK(Node::read(node.program()) == "#!the plugin\n");
  CHECK((fs::status(node.program()).permissions() & fs::perms::mask) == fs::perms(0755));
  CHECK(node.names_us("10-first.conflist"));
  CHECK_FALSE(node.names_us("20-later.conflist"));
  CHECK_FALSE(install_now(node.options).changed);

  const auto removal = uninstall(node.options);
  REQUIRE_MESSAGE(removal, removal.error().message);
  CHECK(removal->done.size() == 2);
  CHECK(removal->left.empty());
  CHECK(node.folder() == before);
  CHECK_FALSE(node.has_program());
  CHECK(uninstall(node.options)->done.empty());
}

TEST_CASE("cni install: a hidden list counts, as it does for libcni") {
  const Node node;
  node.write("10-net.conflist", list("net"));
  node.write(".05-hidden.conflist", list("hidden"));
  CHECK(install_now(node.options).configuration == node.conf(".05-hidden.conflist"));
}

TEST_CASE("cni install: a single plugin becomes a list, and comes back as it was") {
  for (const std::string name : {"10-one.conf", "10-one.json"}) {
    CAPTURE(name);
    const Node node;
    node.write(name, kSingle);
    node.write("20-later.conflist", list("later"));
    const auto before = node.folder();
    const auto state = install_now(node.options);
    CHECK_MESSAGE(state.in_place, state.problem);
    CHECK(state.configuration == node.conf("10-one.conflist"));
    CHECK_FALSE(fs::exists(node.conf(name)));
    const auto made = boost::json::parse(Node::read(node.conf("10-one.conflist")));
    CHECK(made.at("name") == "one");
    CHECK(made.at("cniVersion") == "0.4.0");
    CHECK(made.at("plugins").as_array().size() == 2);
    CHECK(made.at("plugins").as_array()[0] == boost::json::parse(kSingle));
    CHECK_FALSE(install_now(node.options).changed);

    // Its owner writes it again: that counts now.
    auto other = kSingle;
    other.replace(other.find("bridge"), 6, "ipvlan");
    node.write(name, other);
    CHECK(install_now(node.options).in_place);
    CHECK_FALSE(fs::exists(node.conf(name)));
    CHECK(Node::read(node.conf("10-one.conflist")).find("ipvlan") != std::string::npos);

    REQUIRE(uninstall(node.options));
    auto after = before;
    after[name] = other;
    CHECK(node.folder() == after);
  }
}

TEST_CASE("cni install: a list that is in the way of a single plugin's is not touched") {
  const Node node;
  node.write("10-one.conf", kSingle);
  node.write("10-one.conflist", list("other"));
  const auto before = node.folder();
  const auto state = install_now(node.options);
  CHECK_FALSE(state.in_place);
  CHECK(state.problem == node.conf("10-one.conflist").string() +
                             ": stands where the list made of 10-one.conf would be: remove one of the two");
  CHECK(node.folder() == before);
}

TEST_CASE("cni install: an earlier list takes the entry over, also from a single plugin's") {
  const Node node;
  node.write("30-one.conf", kSingle);
  CHECK(install_now(node.options).configuration == node.conf("30-one.conflist"));
  node.write("20-net.conflist", list("net"));
  CHECK(install_now(node.options).configuration == node.conf("20-net.conflist"));
  CHECK(node.folder().size() == 2);
  CHECK(Node::read(node.conf("30-one.conf")) == kSingle);
  node.write("10-net.conflist", list("net"));
  CHECK(install_now(node.options).configuration == node.conf("10-net.conflist"));
  CHECK(Node::read(node.conf("20-net.conflist")) == list("net"));
}

TEST_CASE("cni install: what cannot be done is said, and nothing is changed") {
  struct Row {
    std::string file;
    std::string text;
    std::string problem;
  };
  const std::vector<Row> rows{
      {"10.conflist", list("old", "0.3.0"),
       R"(: cniVersion: "0.3.0": plugins can be chained from 0.3.1 on, and underpass-cni knows 1.1.0 at most)"},
      {"10.conflist", list("new", "9.0.0"),
       R"(: cniVersion: "9.0.0": plugins can be chained from 0.3.1 on, and underpass-cni knows 1.1.0 at most)"},
      {"10.conf", R"({"name":"n","type":"bridge"})",
       R"(: cniVersion: "": plugins can be chained from 0.3.1 on, and underpass-cni knows 1.1.0 at most)"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const Node node;
    node.write(row.file, row.text);
    const auto before = node.folder();
    const auto state = install_now(node.options);
    CHECK_FALSE(state.in_place);
    CHECK(state.problem == node.conf(row.file).string() + row.problem);
    CHECK(node.folder() == before);
    CHECK_FALSE(node.has_program());
  }

  Node node;
  CHECK(install_now(node.options).problem == node.options.conf_dir + ": no plugin list is there yet");
  node.write("10.conflist", "{");
  CHECK(install_now(node.options).problem == node.options.conf_dir + ": no valid plugin list: " +
                                                 node.conf("10.conflist").string() + ": not JSON: incomplete JSON");
  node.write("10.conflist", list("n"));
  fs::remove(node.temp / "bin");
  CHECK(install_now(node.options).problem == "folder " + node.options.bin_dir + ": No such file or directory");
  CHECK_FALSE(node.names_us("10.conflist"));
  fs::create_directory(node.temp / "bin");
  fs::remove(node.temp / "plugin");
  CHECK(install_now(node.options).problem == node.options.plugin + ": the plugin is not there");
  CHECK_FALSE(node.names_us("10.conflist"));
  node.options.conf_dir = (node.temp / "gone").string();
  CHECK(install_now(node.options).problem == "folder " + node.options.conf_dir + ": No such file or directory");
  CHECK(uninstall(node.options));
}

TEST_CASE("cni install: owner, mode and attributes of the list stay") {
  const Node node;
  node.write("10.conflist", list("n"));
  const auto path = node.conf("10.conflist");
  fs::permissions(path, fs::perms(0640));
  const bool root = ::geteuid() == 0;
  if (root) REQUIRE(::chown(path.c_str(), 12, 34) == 0);
  const bool attributes = ::setxattr(path.c_str(), "user.up", "label", 5, 0) == 0;
  for (int step = 0; step < 2; ++step) {
    if (step == 0)
      REQUIRE(install_now(node.options).in_place);
    else
      REQUIRE(uninstall(node.options));
    struct stat status{};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & ALLPERMS) == 0640);
    if (root) CHECK(status.st_uid == 12);
    if (root) CHECK(status.st_gid == 34);
    std::string value(5, '\0');
    if (attributes) CHECK(::getxattr(path.c_str(), "user.up", value.data(), value.size()) == 5);
    if (attributes) CHECK(value == "label");
  }
}

TEST_CASE("cni install: a link stays a link, and what it leads to is edited") {
  const Node node;
  fs::create_directory(node.temp / "real");
  node.temp.write("real/list", list("n"));
  fs::create_symlink("../real/list", node.conf("10.conflist"));
  node.write("target", list("m"));
  fs::create_symlink("target", node.conf("05.conflist"));
  REQUIRE(install_now(node.options).in_place);
  CHECK(fs::is_symlink(node.conf("05.conflist")));
  CHECK(node.names_us("target"));
  fs::remove(node.conf("05.conflist"));
  REQUIRE(install_now(node.options).in_place);
  CHECK(fs::is_symlink(node.conf("10.conflist")));
  CHECK(node.names_us("10.conflist"));
  REQUIRE(uninstall(node.options));
  CHECK(Node::read(node.temp / "real/list") == list("n"));
}

TEST_CASE("cni install: a list that somebody is writing is left alone until that is done") {
  const Node node;
  node.write("20.conflist", list("later"));
  auto writer = node.temp.open_to_write("net.d/10.conflist");
  test::write_all(writer.get(), "{");
  const auto state = install_now(node.options);
  CHECK(state.look_again);
  CHECK_FALSE(state.in_place);
  CHECK_FALSE(node.names_us("20.conflist"));
  ::lseek(writer.get(), 0, SEEK_SET);
  test::write_all(writer.get(), list("n"));
  writer.reset();
  CHECK(install_now(node.options).configuration == node.conf("10.conflist"));
}

TEST_CASE("cni install: what a killed process left is cleared") {
  const Node node;
  node.write("10.conflist", list("n"));
  node.write(".underpass-cni.unfinished", "half");
  node.temp.write("bin/.underpass-cni.unfinished", "half");
  REQUIRE(install_now(node.options).in_place);
  CHECK(node.folder().size() == 1);
  CHECK_FALSE(fs::exists(node.temp / "bin/.underpass-cni.unfinished"));
}

TEST_CASE("cni uninstall: the program stays while a list names it that cannot be edited") {
  const Node node;
  node.write("10.conflist", list("n"));
  REQUIRE(install_now(node.options).in_place);
  node.write("05.conflist", R"({"plugins":[{"type":"underpass-cni"},)");
  const auto removal = uninstall(node.options);
  REQUIRE_FALSE(removal);
  CHECK(removal.error().message.find("take the entry out by hand") != std::string::npos);
  CHECK(node.has_program());
}

TEST_CASE("cni uninstall: the program stays while a runtime may end a sandbox with it") {
  const Node node;
  node.write("10.conflist", list("n"));
  REQUIRE(install_now(node.options).in_place);
  fs::create_directories(node.temp / "cache/results");
  node.temp.write("cache/results/n-other-eth0", "no JSON");
  // {"plugins":[{"type":"bridge"},{"type":"underpass-cni"}]}
  node.temp.write(
      "cache/results/n-c1-eth0",
      R"({"kind":"cniCacheV1","containerId":"c1","config":"eyJwbHVnaW5zIjpbeyJ0eXBlIjoiYnJpZGdlIn0seyJ0eXBlI)"
      R"(joidW5kZXJwYXNzLWNuaSJ9XX0="})");
  const auto removal = uninstall(node.options);
  REQUIRE(removal);
  CHECK(removal->left.find("1 sandboxes were made with it") != std::string::npos);
  CHECK_FALSE(node.names_us("10.conflist"));
  CHECK(node.has_program());

  node.temp.remove("cache/results/n-c1-eth0");
  CHECK(uninstall(node.options)->left.empty());
  CHECK_FALSE(node.has_program());
}

// The agent's side: one that watches.
class Watched {
 public:
  explicit Watched(const Node& node) {
    installer_ = io_.run([&] { return Installer::start(io_.io, node.options, [this] { ++told; }); });
  }
  ~Watched() {
    io_.run([this] {
      installer_.reset();
      return true;
    });
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  [[nodiscard]] std::string problem() {
    return io_.run([this] { return installer_->problem(); });
  }
  [[nodiscard]] std::string configuration() {
    return io_.run([this] { return installer_->configuration(); });
  }
  [[nodiscard]] bool installed() {
    return io_.run([this] { return installer_->installed(); });
  }

  std::atomic<int> told = 0;

 private:
  IoThread io_;
  std::unique_ptr<Installer> installer_;
};

TEST_CASE("cni installer: others' changes are followed within a second") {
  const Node node;
  node.write("10.conflist", list("n"));
  Watched watched(node);
  REQUIRE(watched.installed());
  CHECK(watched.told == 0);

  SUBCASE("the list is replaced") {
    node.replace("10.conflist", list("again"));
    CHECK(eventually(1s, [&] { return node.names_us("10.conflist"); }));
  }
  SUBCASE("the list is written in place") {
    node.write("10.conflist", list("again"));
    CHECK(eventually(1s, [&] { return node.names_us("10.conflist"); }));
  }
  SUBCASE("the program is deleted") {
    fs::remove(node.program());
    CHECK(eventually(1s, [&] { return node.has_program(); }));
  }
  SUBCASE("the program is another") {
    node.temp.write("bin/underpass-cni", "another");
    CHECK(eventually(1s, [&] { return Node::read(node.program()) == "#!the plugin\n"; }));
  }
  SUBCASE("the program may not be run") {
    fs::permissions(node.program(), fs::perms(0600));
    CHECK(eventually(1s,
                     [&] { return (fs::status(node.program()).permissions() & fs::perms(0755)) == fs::perms(0755); }));
  }
  SUBCASE("an earlier list comes, and goes") {
    node.write("05.conflist", list("earlier"));
    CHECK(eventually(1s, [&] { return node.names_us("05.conflist") && !node.names_us("10.conflist"); }));
    CHECK(eventually(1s, [&] { return watched.configuration() == node.conf("05.conflist"); }));
    CHECK(watched.told == 1);
    fs::remove(node.conf("05.conflist"));
    CHECK(eventually(1s, [&] { return node.names_us("10.conflist"); }));
  }
  SUBCASE("the list goes, and comes") {
    fs::remove(node.conf("10.conflist"));
    CHECK(eventually(1s, [&] { return !watched.installed(); }));
    CHECK(watched.problem() == node.options.conf_dir + ": no plugin list is there yet");
    node.write("10.conflist", list("n"));
    CHECK(eventually(1s, [&] { return watched.installed(); }));
    CHECK(watched.problem().empty());
  }
}

TEST_CASE("cni installer: folders that are not there yet are waited for, and made anew they are watched") {
  const Node node;
  fs::remove(node.temp / "net.d");
  fs::remove(node.temp / "bin");
  Watched watched(node);
  CHECK(watched.problem() == "folder " + node.options.conf_dir + ": No such file or directory");
  fs::create_directory(node.temp / "bin");
  fs::create_directory(node.temp / "net.d");
  node.write("10.conflist", list("n"));
  CHECK(eventually(5s, [&] { return watched.installed(); }));
  fs::remove_all(node.temp / "net.d");
  CHECK(eventually(5s, [&] { return !watched.installed(); }));
  fs::create_directory(node.temp / "net.d");
  node.write("10.conflist", list("n"));
  CHECK(eventually(5s, [&] { return watched.installed(); }));
  node.replace("10.conflist", list("again"));
  CHECK(eventually(1s, [&] { return node.names_us("10.conflist"); }));
}

TEST_CASE("cni installer: in a fight it gives way more and more, says so, and never spins") {
  const Node node;
  node.write("10.conflist", list("n"));
  Watched watched(node);
  std::atomic<bool> stop = false;
  std::atomic<int> undone = 0;
  std::thread rival([&] {
    while (!stop) {
      if (node.names_us("10.conflist")) {
        node.replace("10.conflist", list("mine"));
        ++undone;
      }
      (void)!test::eventually(2ms, [] { return false; });
    }
  });
  CHECK(eventually(10s, [&] { return watched.problem().find("another program undoes") != std::string::npos; }));
  const int before = undone;
  CHECK(before >= 5);
  CHECK_FALSE(eventually(3s, [&] { return undone > before + 3; }));
  stop = true;
  rival.join();
  CHECK(eventually(20s, [&] { return node.names_us("10.conflist"); }));
}

TEST_CASE("cni install: a version of the owner's that came after we had read is not replaced") {
  const Node node;
  node.write("10.conflist", list("newer"));
  const auto folder = NodeFolder::open(node.options.conf_dir);
  REQUIRE(folder);
  const auto replaced = folder->replace("10.conflist", list("older"), list("ours"));
  REQUIRE(replaced);
  CHECK_FALSE(*replaced);
  CHECK(node.folder() == std::map<std::string, std::string>{{"10.conflist", list("newer")}});
}

TEST_CASE("cni install: what a writer still writes into is not replaced") {
  const Node node;
  node.write("10.conflist", list("n"));
  const UniqueFd writer(::open(node.conf("10.conflist").c_str(), O_WRONLY | O_CLOEXEC));
  const auto folder = NodeFolder::open(node.options.conf_dir);
  REQUIRE(folder);
  CHECK_FALSE(folder->replace("10.conflist", list("n"), list("ours")).value_or(true));
  test::write_all(writer.get(), list("m"));
  CHECK(Node::read(node.conf("10.conflist")) == list("m"));
}

TEST_CASE("cni install: one process of ours changes a folder at a time") {
  const Node node;
  node.write("10.conflist", list("n"));
  const auto folder = NodeFolder::open(node.options.conf_dir);
  REQUIRE(folder);
  CHECK(install_now(node.options).problem ==
        "folder " + node.options.conf_dir + ": another process of Underpass changes it at this moment");
}

}  // namespace
}  // namespace underpass::cni
