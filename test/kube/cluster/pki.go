// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const week = 7 * 24 * time.Hour

// makePKI writes what a control plane has in /etc/kubernetes: ca, apiserver and sa (the key that signs service
// accounts' tokens).
func makePKI(_ context.Context, args []string) error {
	flags, _ := newFlags("pki")
	folder := flags.String("dir", "", "where ca.crt and the rest go")
	hosts := flags.StringSlice("host", nil, "names and addresses of the server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if err := issue(*folder, "ca", ca, week); err != nil {
		return err
	}
	server := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range *hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	if err := issue(*folder, "apiserver", server, week); err != nil {
		return err
	}
	_, err := newKey(filepath.Join(*folder, "sa.key"))
	return err
}

// issueClient writes a kubeconfig with a client certificate in it.
func issueClient(_ context.Context, args []string) error {
	flags, kubeconfig := newFlags("client")
	folder := flags.String("dir", "", "where pki has written")
	server := flags.String("server", "", "address of the server")
	user := flags.String("user", "", "common name of the certificate")
	groups := flags.StringSlice("group", nil, "its organisations")
	lifetime := flags.Duration("lifetime", week, "negative: expired already")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client := &x509.Certificate{
		Subject:  pkix.Name{CommonName: *user, Organization: *groups},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if err := issue(*folder, *user, client, *lifetime); err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters["test"] = &api.Cluster{Server: *server, CertificateAuthority: filepath.Join(*folder, "ca.crt")}
	config.AuthInfos[*user] = &api.AuthInfo{
		ClientCertificate: filepath.Join(*folder, *user+".crt"), ClientKey: filepath.Join(*folder, *user+".key"),
	}
	config.Contexts["test"] = &api.Context{Cluster: "test", AuthInfo: *user}
	config.CurrentContext = "test"
	if err := api.FlattenConfig(config); err != nil { // files become data, as kubeadm has it
		return err
	}
	return clientcmd.WriteToFile(*config, *kubeconfig)
}

// issue writes <name>.key and <name>.crt, signed by ca; ca itself is signed by itself.
func issue(folder, name string, template *x509.Certificate, lifetime time.Duration) error {
	key, err := newKey(filepath.Join(folder, name+".key"))
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(min(-time.Minute, 2*lifetime))
	template.NotAfter = time.Now().Add(lifetime)
	parent, signer := template, key
	if !template.IsCA {
		if parent, signer, err = readCA(folder); err != nil {
			return err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	return writePEM(filepath.Join(folder, name+".crt"), "CERTIFICATE", der)
}

func readCA(folder string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	der, err := readPEM(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	if der, err = readPEM(filepath.Join(folder, "ca.key")); err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(der)
	return certificate, key, err
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: not PEM", path)
	}
	return block.Bytes, nil
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
