// Command coredns is CoreDNS with the two plugins that `make bench-dns` and `make bench-kube` compare with: a module of its own
// keeps what it needs out of the product's.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
	dnsserver.Directives = []string{"kubernetes", "file"}
	coremain.Run()
}
