// SPDX-License-Identifier: Apache-2.0
// Reading a folder on request: what is a file of ours, what is read again, and what must not be read at all.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

#include "agent/k8s/folder.h"
#include "test/support/temp_folder.h"

namespace underpass::k8s {
namespace {

using test::TempFolder;

std::string make_namespace(const std::string& name) {
  return "{apiVersion: v1, kind: Namespace, metadata: {name: " + name + "}}\n";
}

class Scanned {
 public:
  bool rescan(const std::set<std::string>& touched = {}) {
    const UniqueFd dir(::open(temp.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return folder.rescan(dir.get(), touched);
  }

  // "a.yaml: Namespace shop; b.yaml: cause".
  [[nodiscard]] std::string text() const {
    std::string out;
    for (const auto& file : folder.contents().files) {
      out += (out.empty() ? "" : "; ") + std::filesystem::path(file->path).filename().string() + ":";
      for (const auto& item : file->items) out += " " + object_name(item.kind, item.id);
      for (const auto& problem : file->unreadable) out += " " + problem.cause;
    }
    return out;
  }

  TempFolder temp;
  Folder folder{temp.path(), {}};
};

TEST_CASE("folder: *.yaml, not hidden, not in subfolders, in the order of their names") {
  Scanned scanned;
  scanned.temp.write("b.yaml", make_namespace("b"));
  scanned.temp.write("a.yaml", make_namespace("a") + "---\n" + make_namespace("a2"));
  scanned.temp.write(".hidden.yaml", make_namespace("x"));
  scanned.temp.write("c.yml", make_namespace("x"));
  scanned.temp.write("d.yaml~", make_namespace("x"));
  scanned.temp.write("yaml", make_namespace("x"));
  std::filesystem::create_directory(scanned.temp / "sub");
  scanned.temp.write("sub/e.yaml", make_namespace("x"));
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "a.yaml: Namespace a Namespace a2; b.yaml: Namespace b");
  CHECK(scanned.folder.contents().files[0]->items[1].place == (scanned.temp / "a.yaml").string() + ":3");
}

TEST_CASE("folder: only what changed is read again") {
  Scanned scanned;
  scanned.temp.write("a.yaml", make_namespace("a"));
  scanned.temp.write("b.yaml", make_namespace("b"));
  CHECK(scanned.rescan());
  const auto a = scanned.folder.contents().files[0];
  const auto b = scanned.folder.contents().files[1];
  CHECK_FALSE(scanned.rescan());

  scanned.temp.write("b.yaml", make_namespace("bb"));
  CHECK(scanned.rescan());
  CHECK(scanned.folder.contents().files[0] == a);
  CHECK(scanned.folder.contents().files[1] != b);
  CHECK(scanned.text() == "a.yaml: Namespace a; b.yaml: Namespace bb");

  CHECK(scanned.rescan({"a.yaml"}));
  CHECK(scanned.folder.contents().files[0] != a);
  scanned.folder.forget_stamps();
  CHECK(scanned.rescan());

  scanned.temp.remove("a.yaml");
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "b.yaml: Namespace bb");
}

TEST_CASE("folder: a file under a writer is left alone until it is closed") {
  Scanned scanned;
  scanned.temp.write("a.yaml", make_namespace("a"));
  CHECK(scanned.rescan());
  auto writer = scanned.temp.open_to_write("a.yaml");
  test::write_all(writer.get(), make_namespace("b"));
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "a.yaml: open for writing: it is read when the writer has closed it");
  CHECK(scanned.folder.waits_for_writer());
  CHECK_FALSE(scanned.rescan());  // no news
  test::write_all(writer.get(), "---\n" + make_namespace("c"));
  writer.reset();
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "a.yaml: Namespace b Namespace c");
  CHECK_FALSE(scanned.folder.waits_for_writer());
}

TEST_CASE("folder: whoever writes in place while it reads, half a text is never taken") {
  Scanned scanned;
  const auto make_version = [](int number) {
    std::string text;
    for (int i = 0; i < 20; ++i) text += make_namespace("n" + std::to_string(i)) + "---\n";
    return text + make_namespace("v" + std::to_string(number));
  };
  constexpr int kVersions = 2000;
  scanned.temp.write("a.yaml", make_version(0));
  std::jthread writer([&] {
    for (int number = 1; number <= kVersions; ++number) {
      const auto text = make_version(number);
      const auto middle = text.find("---", text.size() / 2);  // where a cut text is a good text
      const auto file = scanned.temp.open_to_write("a.yaml");
      test::write_all(file.get(), std::string_view(text).substr(0, middle));
      test::write_all(file.get(), std::string_view(text).substr(middle));
    }
  });
  const auto last = "v" + std::to_string(kVersions);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  int halves = 0;
  for (bool done = false; !done && std::chrono::steady_clock::now() < deadline;) {
    scanned.rescan({"a.yaml"});
    const auto& file = *scanned.folder.contents().files.at(0);
    const bool whole = file.items.size() == 21 && file.unreadable.empty();
    if (!whole && !scanned.folder.waits_for_writer()) ++halves;
    done = whole && file.items.back().id.name == last;
  }
  CHECK(halves == 0);
  CHECK(scanned.text().ends_with("Namespace " + last));
}

TEST_CASE("folder: an empty file is doubted where it held something") {
  Scanned scanned;
  scanned.temp.write("new.yaml", "");
  scanned.temp.write("old.yaml", make_namespace("a"));
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "new.yaml:; old.yaml: Namespace a");
  scanned.temp.write("old.yaml", "");
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "new.yaml:; old.yaml: empty: delete the file to delete what it held");
  scanned.temp.write("old.yaml", "# on purpose\n");
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "new.yaml:; old.yaml:");
  scanned.temp.write("old.yaml", "");
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "new.yaml:; old.yaml:");
}

TEST_CASE("folder: what is no file is reported, and nobody waits for it") {
  Scanned scanned;
  std::filesystem::create_directory(scanned.temp / "folder.yaml");
  test::require(::mkfifo((scanned.temp / "fifo.yaml").c_str(), 0600) == 0, "mkfifo");
  std::filesystem::create_symlink("nowhere", scanned.temp / "dangling.yaml");
  std::filesystem::create_symlink("loop.yaml", scanned.temp / "loop.yaml");
  std::filesystem::create_symlink("/dev/zero", scanned.temp / "zero.yaml");
  std::filesystem::create_symlink("fifo.yaml", scanned.temp / "link-to-fifo.yaml");
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const auto path = (scanned.temp / "socket.yaml").string();
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  test::require(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0, "bind");
  scanned.temp.write("z.yaml", make_namespace("z"));
  CHECK(scanned.rescan());
  CHECK(scanned.text() ==
        "dangling.yaml: No such file or directory; fifo.yaml: not a regular file; folder.yaml: not a regular file; "
        "link-to-fifo.yaml: not a regular file; loop.yaml: Too many levels of symbolic links; "
        "socket.yaml: not a regular file; z.yaml: Namespace z; zero.yaml: not a regular file");
}

TEST_CASE("folder: a file that is too large is not read") {
  Scanned scanned;
  scanned.temp.write("large.yaml", make_namespace("a"));
  std::filesystem::resize_file(scanned.temp / "large.yaml", kMaxFileBytes + 1);
  CHECK(scanned.rescan());
  CHECK(scanned.text() == "large.yaml: larger than 16777216 bytes");
}

TEST_CASE("folder: when it is lost, what it had stays, also if it comes back empty") {
  Scanned scanned;
  scanned.temp.write("a.yaml", make_namespace("a"));
  CHECK(scanned.rescan());
  CHECK(scanned.folder.lose("gone"));
  CHECK_FALSE(scanned.folder.lose("gone"));
  CHECK(scanned.folder.contents().lost->cause == "gone");
  CHECK(scanned.text() == "a.yaml: Namespace a");

  scanned.temp.remove("a.yaml");
  CHECK(scanned.rescan());
  CHECK(scanned.folder.contents().lost->cause == "came back empty");
  CHECK(scanned.text() == "a.yaml: Namespace a");

  scanned.temp.write("b.yaml", make_namespace("b"));
  CHECK(scanned.rescan());
  CHECK_FALSE(scanned.folder.contents().lost.has_value());
  CHECK(scanned.text() == "b.yaml: Namespace b");
}

}  // namespace
}  // namespace underpass::k8s
