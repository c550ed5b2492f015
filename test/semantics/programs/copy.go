// SPDX-License-Identifier: Apache-2.0

// The server copies each connection to one of its own on the loopback and back: io.Copy between two TCP connections,
// for which Go uses splice. The client sends and checks what comes back.
package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"time"
)

func main() {
	at := net.JoinHostPort(os.Args[2], os.Args[3])
	if os.Args[1] == "server" {
		serve(at)
	} else {
		ask(at)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func copyAndClose(to, from net.Conn) {
	io.Copy(to, from)
	to.(*net.TCPConn).CloseWrite()
}

func serve(at string) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		for {
			c, err := echo.Accept()
			check(err)
			go copyAndClose(c, c)
		}
	}()
	front, err := net.Listen("tcp", at)
	check(err)
	for {
		in, err := front.Accept()
		check(err)
		out, err := net.Dial("tcp", echo.Addr().String())
		check(err)
		go copyAndClose(out, in)
		go copyAndClose(in, out)
	}
}

func ask(at string) {
	right := 0
	for i := 0; i < 8; i++ {
		c, err := net.Dial("tcp", at)
		check(err)
		c.SetDeadline(time.Now().Add(5 * time.Second))
		for round := 0; round < 10; round++ {
			body := make([]byte, 1000+round*30000)
			rand.New(rand.NewSource(int64(i*100 + round))).Read(body)
			go c.Write(body)
			got := make([]byte, len(body))
			if _, err = io.ReadFull(c, got); err != nil {
				break
			}
			if bytes.Equal(got, body) {
				right++
			}
		}
		c.Close()
		if err != nil {
			fmt.Println("after", right, "answers:", err.(net.Error).Timeout())
			return
		}
	}
	fmt.Println(right, "answers are right")
}
