// SPDX-License-Identifier: Apache-2.0

// A cluster for tests in one binary: the real kube-apiserver, the real kubectl, those of the controller manager's
// controllers that our tests would miss, and what the tests need to set the ground and to keep it moving. One binary,
// because linking Kubernetes once is dear enough.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's ways to log in
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// What the first argument chooses, beside apiserver and kubectl. A signal cancels the context.
var programs = map[string]func(context.Context, []string) error{
	"churn":       churn,
	"client":      issueClient,
	"controllers": runControllers,
	"load":        load,
	"pki":         makePKI,
	"token":       signToken,
	"wait":        waitReady,
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	name, args := os.Args[1], os.Args[2:]
	switch name {
	case "apiserver":
		command := app.NewAPIServerCommand()
		command.SetArgs(args)
		os.Exit(cli.Run(command))
	case "kubectl":
		os.Args = os.Args[1:] // it looks for itself there
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return
	}
	program, known := programs[name]
	if !known {
		usage()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := program(ctx, args)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func usage() {
	names := []string{"apiserver", "kubectl"}
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(os.Stderr, "usage: %s %s [ARGUMENT…]\n", os.Args[0], strings.Join(names, "|"))
	os.Exit(2)
}
