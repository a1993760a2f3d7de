// Tells of each line of its input, a NO_PROXY list, a scheme, a host and perhaps a port with tabs
// between them, whether Go's httpproxy goes past the proxy: "direct" or "proxy". One process for all
// lines, and no environment: ProxyFromEnvironment reads that once.
package main

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		if len(parts) != 4 {
			fmt.Fprintln(os.Stderr, "not four parts:", lines.Text())
			os.Exit(1)
		}
		config := httpproxy.Config{
			HTTPProxy: "http://proxy.test:3128", HTTPSProxy: "http://proxy.test:3128", NoProxy: parts[0],
		}
		host := parts[2]
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if parts[3] != "" {
			host += ":" + parts[3]
		}
		proxy, err := config.ProxyFunc()(&url.URL{Scheme: parts[1], Host: host})
		switch {
		case err != nil:
			fmt.Fprintln(out, "error")
		case proxy == nil:
			fmt.Fprintln(out, "direct")
		default:
			fmt.Fprintln(out, "proxy")
		}
	}
}
