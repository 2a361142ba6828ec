// Command coredns is CoreDNS with the one plugin that `make bench-dns` compares with: a module of its own keeps what it
// needs out of the product's.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/file"
)

func main() {
	dnsserver.Directives = []string{"file"}
	coremain.Run()
}
