package lab

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDrops(t *testing.T) {
	const six = "Ip6InReceives                   \t412853\nIp6InHdrErrors\t3\nUdp6RcvbufErrors \t12\nUdp6NoPorts\t0\nbroken\n"
	const four = "Ip: Forwarding DefaultTTL InHdrErrors\nIp: 1 64 7\nUdp: InDatagrams NoPorts RcvbufErrors\nUdp: 9 1 0\nUdpLite: NoPorts\nUdpLite: 5\n"
	now := drops{"r1": parseDrops(six, four), "r2": {"Udp6NoPorts": 4}, "r3": {}}
	if diff := cmp.Diff(map[string]int64{"Ip6InHdrErrors": 3, "Udp6RcvbufErrors": 12, "IpInHdrErrors": 7, "UdpNoPorts": 1}, now["r1"]); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	before := drops{"r1": {"Udp6RcvbufErrors": 10, "Ip6InHdrErrors": 3, "IpInHdrErrors": 7}, "r2": {"Udp6NoPorts": 4}}
	if diff := cmp.Diff(drops{"r1": {"Udp6RcvbufErrors": 2, "UdpNoPorts": 1}}, now.since(before)); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}
}
