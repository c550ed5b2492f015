// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

// signToken prints a token as the server would sign it, but with a lifetime that it would not grant.
func signToken(ctx context.Context, args []string) error {
	flags, kubeconfig := newFlags("token")
	folder := flags.String("dir", "", "where pki has written")
	namespace := flags.String("namespace", "default", "of the service account")
	account := flags.String("account", "default", "its name")
	lifetime := flags.Duration("lifetime", time.Hour, "negative: expired already")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientConfig(*kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	found, err := client.CoreV1().ServiceAccounts(*namespace).Get(ctx, *account, metav1.GetOptions{})
	if err != nil {
		return err
	}
	key, err := keyutil.PrivateKeyFromFile(filepath.Join(*folder, "sa.key"))
	if err != nil {
		return err
	}
	generator, err := serviceaccount.JWTTokenGenerator(issuer, key)
	if err != nil {
		return err
	}
	named := core.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: *namespace, Name: *account, UID: found.UID}}
	claims, private, err := serviceaccount.Claims(named, nil, nil, nil, int64(lifetime.Seconds()), 0, []string{issuer})
	if err != nil {
		return err
	}
	token, err := generator.GenerateToken(ctx, claims, private)
	if err != nil {
		return err
	}
	fmt.Println(token)
	return nil
}

// As KubeCluster starts the server.
const issuer = "https://kubernetes.default.svc"
