package bridge

import "fmt"

// Mode is the kind of tunnel.
type Mode int

// The modes.
const (
	Auto  Mode = iota // SRv6 where all hosts have segments and the uplinks' MTU has room for it, else VXLAN
	SRv6              // IPv6 encapsulation without a routing header: 40 bytes. Packets too big for it vanish: the underlay needs an MTU of the clients' + 40
	VXLAN             // 70 bytes over IPv6, 50 over IPv4. Packets too big for it are answered by packet-too-big
	Off               // nothing is bridged; what an earlier process left is removed
)

var modes = [...]string{Auto: "auto", SRv6: "srv6", VXLAN: "vxlan", Off: "off"}

// ParseMode reads "auto", "srv6", "vxlan" or "off".
func ParseMode(s string) (Mode, error) {
	for m, name := range modes {
		if s == name {
			return Mode(m), nil
		}
	}
	return Off, fmt.Errorf("mode %q: must be auto, srv6, vxlan or off", s)
}

func (m Mode) String() string {
	if m < 0 || int(m) >= len(modes) {
		return fmt.Sprintf("mode %d", int(m))
	}
	return modes[m]
}
