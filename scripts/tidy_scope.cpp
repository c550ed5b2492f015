// SPDX-License-Identifier: Apache-2.0
// A plug-in that scripts/check gives clang-tidy: checks look at declarations of ours alone. clang-tidy 19 matches them
// against all of the standard library and Boost, to throw away what it finds there; that takes most of its time.
#include <clang/AST/ASTConsumer.h>
#include <clang/AST/ASTContext.h>
#include <clang/AST/DeclGroup.h>
#include <clang/Basic/SourceManager.h>
#include <clang/Frontend/CompilerInstance.h>
#include <clang/Frontend/FrontendAction.h>
#include <clang/Frontend/FrontendPluginRegistry.h>

#include <memory>
#include <string>
#include <vector>

namespace {

class Scope : public clang::ASTConsumer {
 public:
  explicit Scope(const clang::SourceManager& sources) : sources_(sources) {}

  bool HandleTopLevelDecl(clang::DeclGroupRef group) override {
    for (clang::Decl* declaration : group) {
      if (!sources_.isInSystemHeader(declaration->getLocation())) ours_.push_back(declaration);
    }
    return true;
  }
  void HandleTranslationUnit(clang::ASTContext& context) override { context.setTraversalScope(ours_); }

 private:
  const clang::SourceManager& sources_;
  std::vector<clang::Decl*> ours_;
};

class LimitScope : public clang::PluginASTAction {
  std::unique_ptr<clang::ASTConsumer> CreateASTConsumer(clang::CompilerInstance& compiler, llvm::StringRef) override {
    return std::make_unique<Scope>(compiler.getSourceManager());
  }
  bool ParseArgs(const clang::CompilerInstance&, const std::vector<std::string>&) override { return true; }
  // Before clang-tidy's own, which finds the scope set.
  ActionType getActionType() override { return AddBeforeMainAction; }
};

const clang::FrontendPluginRegistry::Add<LimitScope> kLimitScope("underpass-scope",
                                                                 "checks see our declarations alone");

}  // namespace
