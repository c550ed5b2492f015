// SPDX-License-Identifier: Apache-2.0

// Go's net/http, as server of both versions and as client of either.
// usage: web server|client 1|2 ADDRESS:PORT
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

var body = bytes.Repeat([]byte("gopher "), 200000)

func digest(text []byte) string { return fmt.Sprintf("%d:%x", len(text), sha256.Sum256(text))[:20] }

func handle(answer http.ResponseWriter, request *http.Request) {
	sent, err := io.ReadAll(request.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	switch request.URL.Path {
	case "/large":
		answer.Write(body)
	case "/none":
		answer.WriteHeader(204)
	case "/hints":
		answer.Header().Set("Link", "</a.css>")
		answer.WriteHeader(103)
		answer.Write([]byte("after hints"))
	case "/cut":
		answer.Write([]byte("the beginning"))
		answer.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "/missing":
		http.Error(answer, "not here", 404)
	default:
		answer.Header().Set("X-Method", request.Method)
		answer.Header().Set("X-Trailer", request.Trailer.Get("X-Sum"))
		answer.Header().Set("Trailer", "X-Sum")
		answer.(http.Flusher).Flush() // or HTTP/2 says a length, and HTTP/1.1 has no place for trailers then
		for len(sent) > 0 {
			size := min(len(sent), 10000)
			answer.Write(sent[:size])
			answer.(http.Flusher).Flush()
			sent = sent[size:]
		}
		answer.Header().Set("X-Sum", "sum of server")
	}
}

func ask(client *http.Client, url, method, path string, sent []byte, isChunked bool) string {
	var reader io.Reader
	if sent != nil {
		reader = bytes.NewReader(sent)
	}
	if isChunked {
		reader = io.MultiReader(reader) // whose length nobody knows
	}
	request, err := http.NewRequest(method, url+path, reader)
	if err != nil {
		return err.Error()
	}
	if isChunked {
		request.Trailer = http.Header{"X-Sum": {"sum of client"}}
	}
	if method == "PUT" {
		request.Header.Set("Expect", "100-continue")
	}
	answer, err := client.Do(request)
	if err != nil {
		return "error"
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		return "error in the body"
	}
	return fmt.Sprint(answer.Proto, " ", answer.StatusCode, " ", answer.Header.Get("X-Method"), " ", answer.Header.Get("X-Trailer"), " ",
		digest(got), " ", answer.Trailer.Get("X-Sum"))
}

func main() {
	role, version, address := os.Args[1], os.Args[2], os.Args[3]
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version == "1" || role == "server")
	protocols.SetUnencryptedHTTP2(version == "2" || role == "server")
	if role == "server" {
		quiet := log.New(io.Discard, "", 0)
		server := http.Server{Addr: address, Handler: http.HandlerFunc(handle), Protocols: protocols, ErrorLog: quiet}
		log.Fatal(server.ListenAndServe())
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{Protocols: protocols, ExpectContinueTimeout: 10 * time.Second}}
	url := "http://" + address
	for _, path := range []string{"/large", "/none", "/hints", "/missing", "/cut", "/echo"} {
		fmt.Println("GET", path, ask(client, url, "GET", path, nil, false))
	}
	fmt.Println("HEAD", ask(client, url, "HEAD", "/echo", nil, false))
	fmt.Println("POST", ask(client, url, "POST", "/echo", body, false))
	fmt.Println("POST", ask(client, url, "POST", "/echo", body, true))
	fmt.Println("PUT", ask(client, url, "PUT", "/echo", []byte(strings.Repeat("x", 5000)), false))
	var all sync.WaitGroup
	answers := make([]string, 50)
	for i := range answers {
		all.Go(func() { answers[i] = ask(client, url, "POST", "/echo", []byte("together"), true) })
	}
	all.Wait()
	for _, answer := range answers {
		if answer != answers[0] {
			fmt.Println("one of many", answer)
		}
	}
	fmt.Println("many", answers[0])
}
