package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// drops counts what the kernel threw away or sent back in each node's network, by the names of /proc/net/snmp6 and snmp, of
// which zeroes are left out.
type drops map[string]map[string]int64

// telling are the counters of packets that did not reach whom they were for. Hop limits that were used up tell of a loop.
var telling = map[string]bool{
	"Ip6InDiscards": true, "Ip6OutDiscards": true, "Ip6InNoRoutes": true, "Ip6OutNoRoutes": true, "Ip6InHdrErrors": true,
	"Ip6InTooBigErrors": true, "Udp6NoPorts": true, "Udp6RcvbufErrors": true, "Udp6SndbufErrors": true,
	"Icmp6OutDestUnreachs": true, "Icmp6OutTimeExcds": true, "Icmp6OutPktTooBigs": true,
	"IpInDiscards": true, "IpOutDiscards": true, "IpOutNoRoutes": true, "IpInHdrErrors": true,
	"UdpNoPorts": true, "UdpRcvbufErrors": true, "UdpSndbufErrors": true, "IcmpOutDestUnreachs": true, "IcmpOutTimeExcds": true,
}

// dropped reads the counters of all nodes.
func (l *Lab) dropped() (drops, error) {
	all := drops{}
	for name, ns := range l.spaces {
		var six, four []byte
		err := ns.do(func() (err error) {
			if six, err = os.ReadFile("/proc/thread-self/net/snmp6"); err != nil {
				return err
			}
			four, err = os.ReadFile("/proc/thread-self/net/snmp")
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		all[name] = parseDrops(string(six), string(four))
	}
	return all, nil
}

// parseDrops reads lines of a name and a value, and pairs of lines of names and values.
func parseDrops(six, four string) map[string]int64 {
	counters := map[string]int64{}
	note := func(name, value string) {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && telling[name] && n != 0 {
			counters[name] = n
		}
	}
	for line := range strings.Lines(six) {
		if f := strings.Fields(line); len(f) == 2 {
			note(f[0], f[1])
		}
	}
	var heads []string
	for line := range strings.Lines(four) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(heads) != len(f) || heads[0] != f[0] {
			heads = f
			continue
		}
		for i := range f[1:] {
			note(strings.TrimSuffix(f[0], ":")+heads[i+1], f[i+1])
		}
		heads = nil
	}
	return counters
}

// since returns what was counted after an earlier look; nodes of which nothing is to be told are left out.
func (d drops) since(before drops) drops {
	found := drops{}
	for node, counters := range d {
		for name, n := range counters {
			if n -= before[node][name]; n == 0 {
				continue
			}
			if found[node] == nil {
				found[node] = map[string]int64{}
			}
			found[node][name] = n
		}
	}
	return found
}
