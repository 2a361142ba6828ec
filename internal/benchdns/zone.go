package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"
)

const (
	zoneName = "bench.example."
	names    = 10000
	perName  = 4 // AAAA records
	ttl      = 30 * time.Second
)

func name(i int) string { return fmt.Sprintf("svc%05d.%s", i, zoneName) }

func addresses(i int) []netip.Addr {
	all := make([]netip.Addr, perName)
	for j := range all {
		all[j] = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 8), byte(i), 15: byte(j + 1)})
	}
	return all
}

// writeLines writes a file of what lines yields.
func writeLines(path string, lines func(line func(format string, args ...any))) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	lines(func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) })
	return w.Flush()
}

// writeZone writes what all but edgedns read. RFC 1035 section 5.
func writeZone(path string) error {
	return writeLines(path, func(line func(string, ...any)) {
		seconds := int(ttl.Seconds())
		line("%s %d IN SOA ns.%s hostmaster.%s 1 3600 600 86400 5", zoneName, seconds, zoneName, zoneName)
		line("%s %d IN NS ns.%s", zoneName, seconds, zoneName)
		line("ns.%s %d IN AAAA 2001:db8:53::53", zoneName, seconds)
		for i := range names {
			for _, a := range addresses(i) {
				line("%s %d IN AAAA %s", name(i), seconds, a)
			}
		}
	})
}

// shippedRate is the rate limit of edgedns here: the generator is one address.
const shippedRate = 1000000

// writeConfig writes the same for edgedns. All is as shipped, cookies too, but for the rate. No address is exempt,
// so that every query pays for being counted.
func writeConfig(path string, addr, metrics netip.AddrPort) error {
	return writeLines(path, func(line func(string, ...any)) {
		line("site: bench\nlisten: [%q]\nmetrics: {listen: %q}\nrate_limit: {rate: %d}", addr, metrics, shippedRate)
		line("zones:\n  - {name: %s, ttl: %s, ns: [{name: ns.%s, addresses: [\"2001:db8:53::53\"]}]}\nservices:", zoneName, ttl, zoneName)
		for i := range names {
			line("  - name: %s\n    policy: capacity\n    answers: %d\n    endpoints:", name(i), perName)
			for _, a := range addresses(i) {
				line("      - {address: %q}", a)
			}
		}
	})
}

// writeQueries writes n names below a zone that are asked for; of every 10 missing do not exist, and begin with nxc for the
// generator.
func writeQueries(path, below string, n, missing int) error {
	random := rand.New(rand.NewPCG(1, uint64(missing)))
	return writeLines(path, func(line func(string, ...any)) {
		for i := range n {
			if random.IntN(10) < missing {
				line("nxc%05d.%s", i, below)
			} else {
				line("svc%05d.%s", i, below)
			}
		}
	})
}
