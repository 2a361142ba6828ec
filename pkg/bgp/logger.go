package bgp

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// sentUpdate is the message that GoBGP v4.8.0 logs, at debug level, right after the write of an UPDATE to a neighbor's
// socket returned (pkg/server/fsm.go, sendMessageloop). It is the one place where GoBGP tells which prefixes have left
// and when: its counters tell only how many messages did, and Adj-RIB-Out is recomputed from policy, so it proves nothing.
// The tests fail when a new version of GoBGP changes the message.
const sentUpdate = "sent update"

// receivedUpdate is the message, at debug level, for an UPDATE as it came, before GoBGP looks at it. GoBGP's watchers do not
// tell of one that has the own AS number in its path or the own router ID as its originator, though such a route takes the
// place of another one, as everybody's does.
const receivedUpdate = "received update"

// receivedNotification is the message for a NOTIFICATION; a Cease may tell why in words (RFC 9003).
const receivedNotification = "received notification"

// gobgpHandler is a slog.Handler that passes GoBGP's log on, one level lower than GoBGP says (what is a warning to a
// router's operator is a detail here: the speaker logs sessions itself), and hands every written UPDATE to onSent.
type gobgpHandler struct {
	next       slog.Handler
	onSent     func(at time.Time, neighbor netip.Addr, u update)
	onReceived func(neighbor netip.Addr, u update, r route)
	onText     func(neighbor netip.Addr, communication string)
	peer       netip.Addr // from the attribute "Key" of a neighbor's logger
}

func (h *gobgpHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *gobgpHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelDebug {
		switch {
		case !h.peer.IsValid():
		case r.Message == sentUpdate:
			u, _ := updateOf(r)
			h.onSent(r.Time, h.peer, u)
		case r.Message == receivedUpdate:
			u, attrs := updateOf(r)
			h.onReceived(h.peer, u, routeOf(attrs))
		}
		return nil
	}
	if r.Message == receivedNotification && h.peer.IsValid() {
		h.onText(h.peer, communication(r))
	}
	r.Level -= 4
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h *gobgpHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.next = h.next.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == "Key" {
			n.peer, _ = netip.ParseAddr(a.Value.String())
		}
	}
	return &n
}

func (h *gobgpHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.next = h.next.WithGroup(name)
	return &n
}

// communication returns what the sender of a Cease said, made safe for a log line; "" when nothing.
func communication(r slog.Record) (text string) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "Communicated-Reason" {
			text = strings.Map(printable, strings.ToValidUTF8(a.Value.String(), "?"))
		}
		return true
	})
	return text
}

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}

// An update is one UPDATE message that was written, or received. What it says of the announced prefixes is in the form of
// Attributes.onWire.
type update struct {
	announced, withdrawn []netip.Prefix
	says                 Attributes
}

// updateOf reads the attributes of a sentUpdate or receivedUpdate record.
func updateOf(r slog.Record) (u update, attrs []bgp.PathAttributeInterface) {
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case []bgp.PathNLRI:
			if a.Key == "withdrawals" {
				u.withdrawn = append(u.withdrawn, prefixesOf(v)...)
			} else {
				u.announced = append(u.announced, prefixesOf(v)...)
			}
		case []bgp.PathAttributeInterface:
			u.says, attrs = attrsOf(v), v
			for _, attr := range v {
				switch mp := attr.(type) {
				case *bgp.PathAttributeMpReachNLRI:
					u.announced = append(u.announced, prefixesOf(mp.Value)...)
				case *bgp.PathAttributeMpUnreachNLRI:
					u.withdrawn = append(u.withdrawn, prefixesOf(mp.Value)...)
				}
			}
		}
		return true
	})
	return u, attrs
}

func prefixesOf(nlris []bgp.PathNLRI) []netip.Prefix {
	l := make([]netip.Prefix, 0, len(nlris))
	for _, n := range nlris {
		if p, ok := n.NLRI.(*bgp.IPAddrPrefix); ok {
			l = append(l, p.Prefix)
		}
	}
	return l
}
