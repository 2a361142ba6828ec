package bfd

import (
	"encoding/binary"
	"errors"
	"time"
)

// packetSize is that of a Control packet without authentication (RFC 5880 section 4.1).
const packetSize = 24

// A packet is a BFD Control packet, RFC 5880 section 4.1.
type packet struct {
	diag                      Diag
	state                     State
	poll, final               bool
	controlPlaneIndependent   bool // C
	demand                    bool
	authenticated             bool // A; only told by parse
	detectMult                uint8
	myDiscr, yourDiscr        uint32
	desiredMinTx, requiredMin time.Duration // requiredMin: Required Min RX Interval
	requiredMinEcho           time.Duration
}

// Bits of the second octet, below the state.
const (
	bitMultipoint     = 1 << 0
	bitDemand         = 1 << 1
	bitAuthentication = 1 << 2
	bitControlPlane   = 1 << 3
	bitFinal          = 1 << 4
	bitPoll           = 1 << 5
)

// Why a packet is discarded, each a rule of RFC 5880 section 6.8.6 (the last two: RFC 5881 section 5, RFC 5883 section 5).
var (
	errVersion        = errors.New("version is not 1")
	errLength         = errors.New("length field is wrong")
	errDetectMult     = errors.New("detect mult is zero")
	errMultipoint     = errors.New("multipoint bit is set")
	errMyDiscr        = errors.New("my discriminator is zero")
	errYourDiscr      = errors.New("your discriminator is zero in state init or up")
	errAuthentication = errors.New("authenticated, which is not supported")
	errNoSession      = errors.New("no such session")
	errTTL            = errors.New("ttl is too low")
)

// parse checks all that RFC 5880 section 6.8.6 asks before a session is selected, in its order. It reads nothing beyond the Length field and keeps no part of b.
func parse(b []byte) (packet, error) {
	switch {
	case len(b) < packetSize:
		return packet{}, errLength
	case b[0]>>5 != 1:
		return packet{}, errVersion
	}
	authenticated := b[1]&bitAuthentication != 0
	length := int(b[3])
	switch {
	case length < packetSize || authenticated && length < packetSize+2 || length > len(b):
		return packet{}, errLength
	case b[2] == 0:
		return packet{}, errDetectMult
	case b[1]&bitMultipoint != 0:
		return packet{}, errMultipoint
	}
	p := packet{
		diag:                    Diag(b[0] & 0x1f),
		state:                   State(b[1] >> 6),
		poll:                    b[1]&bitPoll != 0,
		final:                   b[1]&bitFinal != 0,
		controlPlaneIndependent: b[1]&bitControlPlane != 0,
		demand:                  b[1]&bitDemand != 0,
		authenticated:           authenticated,
		detectMult:              b[2],
		myDiscr:                 binary.BigEndian.Uint32(b[4:]),
		yourDiscr:               binary.BigEndian.Uint32(b[8:]),
		desiredMinTx:            interval(b[12:]),
		requiredMin:             interval(b[16:]),
		requiredMinEcho:         interval(b[20:]),
	}
	switch {
	case p.myDiscr == 0:
		return packet{}, errMyDiscr
	case p.yourDiscr == 0 && p.state != Down && p.state != AdminDown:
		return packet{}, errYourDiscr
	}
	return p, nil
}

// append writes the packet behind b.
func (p packet) append(b []byte) []byte {
	flags := byte(p.state) << 6
	for _, f := range [...]struct {
		set bool
		bit byte
	}{{p.poll, bitPoll}, {p.final, bitFinal}, {p.controlPlaneIndependent, bitControlPlane}, {p.demand, bitDemand}} {
		if f.set {
			flags |= f.bit
		}
	}
	b = append(b, 1<<5|byte(p.diag)&0x1f, flags, p.detectMult, packetSize)
	b = binary.BigEndian.AppendUint32(b, p.myDiscr)
	b = binary.BigEndian.AppendUint32(b, p.yourDiscr)
	b = binary.BigEndian.AppendUint32(b, micros(p.desiredMinTx))
	b = binary.BigEndian.AppendUint32(b, micros(p.requiredMin))
	return binary.BigEndian.AppendUint32(b, micros(p.requiredMinEcho))
}

// interval reads microseconds: at most 72 minutes.
func interval(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

func micros(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
