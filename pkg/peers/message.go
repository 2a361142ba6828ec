package peers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// The wire format, in network byte order; requests and answers have the same size, so that nothing is amplified.
//
//	 0  "aepr"
//	 4  version, 1
//	 5  kind: 1 request, 2 answer
//	 6  flags: 1 serving, 2 announcing, 4 bridging; 0 in a request
//	 7  headroom in percent, 0 to 100; 0 in a request
//	 8  nonce: chosen by the sender of the request at random, repeated in the answer
//	16  VIP, IPv4 as ::ffff:a.b.c.d
//	32  length of the name, 1 to 63
//	33  name of the sender, padded with zeros
const (
	messageSize = 96
	version     = 1
	magic       = "aepr"
)

type kind uint8

const (
	request kind = 1
	answer  kind = 2
)

const (
	flagServing = 1 << iota
	flagAnnouncing
	flagBridging
)

// A message is a request or an answer.
type message struct {
	kind  kind
	name  string // of the sender
	vip   netip.Addr
	nonce uint64
	state State // of an answer
}

var errMessage = errors.New("no message of ours")

// append appends the message's octets; the message must be valid.
func (m message) append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, version, byte(m.kind), m.state.flags(), byte(m.state.Headroom))
	b = binary.BigEndian.AppendUint64(b, m.nonce)
	vip := m.vip.As16()
	b = append(b, vip[:]...)
	b = append(b, byte(len(m.name)))
	b = append(b, m.name...)
	return append(b, make([]byte, MaxName-len(m.name))...)
}

// parseMessage accepts exactly what append makes.
func parseMessage(b []byte) (m message, err error) {
	if len(b) != messageSize || string(b[:4]) != magic {
		return m, errMessage
	}
	if b[4] != version {
		return m, fmt.Errorf("version %d: must be %d: hosts run different releases", b[4], version)
	}
	m = message{
		kind:  kind(b[5]),
		state: State{Serving: b[6]&flagServing != 0, Announcing: b[6]&flagAnnouncing != 0, Bridging: b[6]&flagBridging != 0, Headroom: int(b[7])},
		nonce: binary.BigEndian.Uint64(b[8:]),
		vip:   netip.AddrFrom16([16]byte(b[16:32])).Unmap(),
	}
	length := int(b[32])
	switch {
	case m.kind != request && m.kind != answer,
		m.kind == request && m.state != State{},
		b[6] != m.state.flags(),
		m.state.Headroom > 100,
		length == 0 || length > MaxName:
		return message{}, errMessage
	}
	m.name = string(b[33 : 33+length])
	for _, padding := range b[33+length:] {
		if padding != 0 {
			return message{}, errMessage
		}
	}
	return m, nil
}

func (s State) flags() (b byte) {
	if s.Serving {
		b |= flagServing
	}
	if s.Announcing {
		b |= flagAnnouncing
	}
	if s.Bridging {
		b |= flagBridging
	}
	return b
}
