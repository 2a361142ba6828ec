package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/siteapi"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

// sick is an agent in the middle of things.
func sick() siteapi.Status {
	router, other := netip.MustParseAddr("fd00:1::1"), netip.MustParseAddr("fd00:1::2")
	six, four := netip.MustParsePrefix("2001:db8:53::53/128"), netip.MustParsePrefix("192.0.2.53/32")
	left := 8
	return siteapi.Status{
		Site: "mec-1", Version: "v1",
		Services: []siteapi.Service{{
			Name: "dns", State: "bridged", Since: before(400 * time.Millisecond), Reason: "socket: last udp socket on port 53 destroyed",
			Health: siteapi.Health{State: "down", Since: before(400 * time.Millisecond), Reason: "socket: last udp socket on port 53 destroyed"},
			Checks: []siteapi.Check{
				{Name: "answers", State: "up", Since: before(time.Hour), Reason: "NOERROR, 1 answer"},
				{Name: "socket", State: "down", Since: before(400 * time.Millisecond), Reason: "last udp socket on port 53 destroyed"},
			},
			VIPs: []siteapi.VIP{
				{
					Address: six, Announce: netip.MustParsePrefix("2001:db8:53::/48"),
					State: "bridged", Since: before(400 * time.Millisecond), Reason: "socket: last udp socket on port 53 destroyed",
					Next:      "depreferred in 0.6s unless dns is back",
					Announced: siteapi.Announced{As: "plain", To: []netip.Addr{router}, Heard: []netip.Addr{other}, Peers: []string{"mec-2-a"}},
					Bridge: &siteapi.VIPBridge{
						Targets: []siteapi.Target{{Peer: "mec-2-a", Weight: 80}, {Peer: "mec-2-b", Weight: 20}}, Since: before(400 * time.Millisecond),
						Packets: 1234, Bytes: 123456, Dropped: 5, Last: before(time.Millisecond),
					},
					Guard: &siteapi.VIPGuard{WithdrawalsLeft: &left},
				},
				{
					Address: four, Announce: four,
					State: "held", Since: before(2 * time.Minute), Reason: "down, and nobody else announces it",
					Announced: siteapi.Announced{As: "marked", To: []netip.Addr{router}},
					Guard:     &siteapi.VIPGuard{Holds: "last_announcer", SuppressedUntil: now.Add(90 * time.Second), WithdrawalsLeft: new(int)},
				},
			},
		}},
		Neighbors: []siteapi.Neighbor{
			{Address: router, ASN: 65533, State: "established", Since: before(49 * time.Hour), Families: []string{"ipv6-unicast", "ipv4-unicast"}, BFD: &siteapi.BFD{
				State: "up", RemoteState: "up", Since: before(49 * time.Hour), Interval: siteapi.Milliseconds(50 * time.Millisecond),
				Detection: siteapi.Milliseconds(150 * time.Millisecond), RealTime: true,
			}},
			{Address: other, ASN: 65533, State: "idle", Since: before(5 * time.Second), Reason: "BFD down", BFD: &siteapi.BFD{
				State: "down", RemoteState: "up", Since: before(5 * time.Second), Interval: siteapi.Milliseconds(time.Second),
				Detection: siteapi.Milliseconds(12500 * time.Microsecond), Diag: "control detection time expired", Reason: "no packet for 151ms",
			}},
		},
		Peers: []siteapi.Peer{
			{Name: "mec-2-a", Site: "mec-2", VIP: six.Addr(), Reachable: true, Serving: true, Announcing: true, Headroom: 80, RTT: siteapi.Milliseconds(12345678), Since: before(time.Hour)},
			{Name: "mec-3-a", Site: "mec-3", VIP: six.Addr(), Since: before(time.Minute), Reason: "no answer to 3 requests"},
			{Name: "mec-2-a", Site: "mec-2", VIP: four.Addr(), Reachable: true, Headroom: 80, RTT: siteapi.Milliseconds(12 * time.Millisecond), Since: before(time.Hour), Reason: "does not serve it"},
		},
		Bridge: &siteapi.Bridge{Mode: "srv6", Problems: []siteapi.Problem{
			{Name: "mtu", What: "eth1 has an MTU of 1500: packets over 1460 octets do not fit", Remedy: "ip link set eth1 mtu 1600, and so on the way"},
			{Name: "forwarding", What: "net.ipv4.conf.eth1.forwarding is 0", Remedy: "sysctl -w net.ipv4.ip_forward=1", Fatal: true},
		}},
		Brake: "3 of 4 services are sick, 3 or more fell so within 10s",
	}
}

func TestTables(t *testing.T) {
	want := `site mec-1, edgeagent v1, bridge srv6

SERVICE  STATE    FOR  REASON
dns      bridged  0s   socket: last udp socket on port 53 destroyed

VIP              SERVICE  STATE    FOR   ANNOUNCED                       REASON
2001:db8:53::53  dns      bridged  0s    plain to 1 in 2001:db8:53::/48  socket: last udp socket on port 53 destroyed
192.0.2.53       dns      held     2m0s  marked to 1                     down, and nobody else announces it

BRIDGED          FOR  PACKETS  BYTES  DROPPED  LAST  TO
2001:db8:53::53  0s   1234     123kB  5        0s    mec-2-a (80), mec-2-b (20)

GUARDED          SUPPRESSED  WITHDRAWALS-LEFT  HELD-BY
2001:db8:53::53  -           8                 -
192.0.2.53       for 1m30s   0                 last_announcer

CHECK        STATE  FOR   REASON
dns/answers  up     1h0m  NOERROR, 1 answer
dns/socket   down   0s    last udp socket on port 53 destroyed

NEIGHBOR   SESSION      FOR  AS     REMARK
fd00:1::1  established  2d   65533  ipv6-unicast ipv4-unicast
fd00:1::2  idle         5s   65533  BFD down

BFD        STATE  REMOTE  FOR  INTERVAL  DETECTION  SCHEDULING  REASON
fd00:1::1  up     up      2d   50ms      150ms      real-time   -
fd00:1::2  down   up      5s   1s        12.5ms     ordinary    no packet for 151ms; diagnostic: control detection time expired

PEER     SITE   VIP              SAYS                FOR   RTT      HEADROOM  REMARK
mec-2-a  mec-2  2001:db8:53::53  serving,announcing  1h0m  12.35ms  80%       -
mec-3-a  mec-3  2001:db8:53::53  nothing             1m0s  -        -         no answer to 3 requests
mec-2-a  mec-2  192.0.2.53       idle                1h0m  12ms     80%       does not serve it

BRAKE: nothing is withdrawn: 3 of 4 services are sick, 3 or more fell so within 10s

PROBLEMS
  forwarding (prevents bridging): net.ipv4.conf.eth1.forwarding is 0
    remedy: sysctl -w net.ipv4.ip_forward=1
  mtu: eth1 has an MTU of 1500: packets over 1460 octets do not fit
    remedy: ip link set eth1 mtu 1600, and so on the way
`
	var out strings.Builder
	if err := tables(&out, sick(), now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExplain(t *testing.T) {
	six := `2001:db8:53::53 of service dns is bridged for 0s
  because    socket: last udp socket on port 53 destroyed
  next       depreferred in 0.6s unless dns is back
  health     down for 0s: socket: last udp socket on port 53 destroyed
  check      answers is up for 1h0m: NOERROR, 1 answer
  check      socket is down for 0s: last udp socket on port 53 destroyed
  announced  plain in 2001:db8:53::/48 to fd00:1::1
             not to fd00:1::2: its session is idle for 5s: BFD down
  elsewhere  another origin's route comes back from fd00:1::2
  elsewhere  announced and served by mec-2-a
  bridge     to mec-2-a (80), mec-2-b (20) for 0s
             1234 packets, 123kB, 5 dropped by the limit; the last 0s ago
  guard      brake: nothing is withdrawn: 3 of 4 services are sick, 3 or more fell so within 10s
  guard      8 more withdrawals before the budget keeps it announced
  peer       mec-2-a (mec-2) says serving,announcing, 12.35ms away, 80% headroom; may be a target
  peer       mec-3-a (mec-3) says nothing; no target: no answer to 3 requests
  problem    net.ipv4.conf.eth1.forwarding is 0; remedy: sysctl -w net.ipv4.ip_forward=1
`
	four := `192.0.2.53 of service dns is held for 2m0s
  because    down, and nobody else announces it
  health     down for 0s: socket: last udp socket on port 53 destroyed
  check      answers is up for 1h0m: NOERROR, 1 answer
  check      socket is down for 0s: last udp socket on port 53 destroyed
  announced  marked to fd00:1::1
             not to fd00:1::2: its session is idle for 5s: BFD down
  guard      brake: nothing is withdrawn: 3 of 4 services are sick, 3 or more fell so within 10s
  guard      last_announcer: it stays announced though it is sick: nobody else is seen to announce it
  guard      not announced in full for another 1m30s, until 12:01:30
  guard      0 more withdrawals before the budget keeps it announced
  peer       mec-2-a (mec-2) says idle, 12ms away, 80% headroom; no target: does not serve it
  problem    net.ipv4.conf.eth1.forwarding is 0; remedy: sysctl -w net.ipv4.ip_forward=1
`
	for what, want := range map[string]string{
		"": six + "\n" + four, "dns": six + "\n" + four,
		"2001:db8:53::53": six, "2001:db8:53::53/128": six, "2001:db8:53::/48": six, "::ffff:192.0.2.53": four,
	} {
		var out strings.Builder
		if err := explain(&out, sick(), what, now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("explain %s (-want +got)\n%s", what, diff)
		}
	}
	healthy := siteapi.Status{Services: []siteapi.Service{{Name: "x", State: "up", Since: now, Reason: "healthy", VIPs: []siteapi.VIP{{}}}}}
	var out strings.Builder
	if err := explain(&out, healthy, "x", now); err != nil || !strings.Contains(out.String(), "of service x is up for 0s\n  because    healthy\n") {
		t.Errorf("an agent that knows only services: %v\n%s", err, out.String())
	}
}

func TestTellsChanges(t *testing.T) {
	var out strings.Builder
	teller := newTeller(&out)
	tell := func(s siteapi.Status) (lines []string) {
		t.Helper()
		out.Reset()
		if err := teller.tell(s); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			_, what, _ := strings.Cut(strings.TrimSpace(line), " ") // the time
			lines = append(lines, what)
		}
		return lines
	}
	tell(sick())
	counted := sick()
	counted.Services[0].VIPs[0].Bridge.Packets++
	counted.Peers[0].Headroom, counted.Peers[0].RTT = 79, 1
	if got := tell(counted); got != nil {
		t.Errorf("counters are told: %q", got)
	}
	next := sick()
	next.Services[0].VIPs[0].Bridge = nil
	next.Services[0].VIPs[0].State = "withdrawn"
	next.Peers[2].Serving, next.Peers[2].Reason = true, ""
	next.Neighbors[1].BFD.State = "up"
	next.Bridge.Problems = next.Bridge.Problems[:1]
	next.Brake = ""
	if diff := cmp.Diff([]string{
		"vip 2001:db8:53::53 withdrawn: socket: last udp socket on port 53 destroyed",
		"bridge of 2001:db8:53::53 off",
		"bfd fd00:1::2 up: no packet for 151ms; diagnostic: control detection time expired",
		"peer mec-2-a for 192.0.2.53 says serving",
		"brake off",
		"problem forwarding: net.ipv4.conf.eth1.forwarding is 0 is gone",
	}, tell(next)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
