// A client of Go's TLS: two connections, the second with the ticket of the first. Sends a line on
// each, and prints version, protocol and whether it was resumed once the same has come back.
//
// usage: tls_client ADDRESS CA_FILE
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	authorities := x509.NewCertPool()
	pem, err := os.ReadFile(os.Args[2])
	if err != nil || !authorities.AppendCertsFromPEM(pem) {
		panic("no authorities")
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{
			RootCAs: authorities, ServerName: "mail.example.test", MaxVersion: version,
			NextProtos: []string{"imap"}, ClientSessionCache: tls.NewLRUClientSessionCache(2),
		}
		for i := 0; i < 2; i++ {
			dialer := &net.Dialer{Timeout: 20 * time.Second}
			client, err := tls.DialWithDialer(dialer, "tcp", os.Args[1], config)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(client, "hello\n")
			line, err := bufio.NewReader(client).ReadString('\n')
			if err != nil || line != "hello\n" {
				panic(fmt.Sprint(line, err))
			}
			state := client.ConnectionState()
			fmt.Printf("%x %s %v\n", state.Version, state.NegotiatedProtocol, state.DidResume)
			client.Close()
		}
	}
}
