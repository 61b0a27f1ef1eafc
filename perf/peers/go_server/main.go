// peers/go_server: Go's part in the tables: net/http's hello, parsed for real, an echo with a goroutine per
// connection, and http.FileServer. Run it with GOMAXPROCS=1.
//
//	go_server http|echo PORT
//	go_server files PORT DIRECTORY
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
)

var body = []byte("Hello, World!")

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func echo(c net.Conn) {
	defer c.Close()
	b := make([]byte, 65536)
	for {
		n, err := c.Read(b)
		if n > 0 {
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func serveEcho(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go echo(c)
	}
}

func main() {
	if len(os.Args) < 3 || (os.Args[1] == "files") != (len(os.Args) == 4) {
		fmt.Fprintln(os.Stderr, "usage: go_server http|echo PORT, go_server files PORT DIRECTORY")
		os.Exit(2)
	}
	address := "127.0.0.1:" + os.Args[2]
	var err error
	switch os.Args[1] {
	case "echo":
		err = serveEcho(address)
	case "files":
		err = http.ListenAndServe(address, http.FileServer(http.Dir(os.Args[3])))
	default:
		http.HandleFunc("/", hello)
		err = http.ListenAndServe(address, nil)
	}
	fmt.Fprintln(os.Stderr, "go_server:", err)
	os.Exit(1)
}
