package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Size is the length of every packet in bytes, request and reply alike: nobody can use a responder to amplify.
const Size = 72

// MaxSite is the length of the longest site name in bytes.
const MaxSite = 32

// Offsets of the fields; docs/probe.md draws them.
const (
	magic   = 0x41455042 // "AEPB"
	version = 1

	atVersion  = 4
	atKind     = 5
	atSiteLen  = 6
	atReserved = 7
	atRun      = 8
	atSeq      = 16
	atSent     = 24
	atReceived = 32
	atSite     = 40
)

// A Kind tells requests from replies. A responder answers requests only, so two of them never talk to each other.
type Kind uint8

// The kinds of packets.
const (
	KindRequest Kind = 1
	KindReply   Kind = 2
)

// String returns the name of the kind.
func (k Kind) String() string {
	switch k {
	case KindRequest:
		return "request"
	case KindReply:
		return "reply"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// Errors of UnmarshalBinary.
var (
	errSize      = errors.New("probe packet: wrong size")
	errMagic     = errors.New("probe packet: wrong magic")
	errVersion   = errors.New("probe packet: unknown version")
	errKind      = errors.New("probe packet: unknown kind")
	errReserved  = errors.New("probe packet: unused bytes are not zero")
	errRequest   = errors.New("probe packet: a request carries no site and no receive time")
	errSiteBytes = errors.New("site name: 1 to 32 printable ASCII characters without spaces")
)

// A Packet is one probe or the answer to it. Packets are comparable; one may be decoded into again and again without
// allocating. It is not safe for concurrent use.
type Packet struct {
	Kind       Kind
	Run        uint64 // of one run of a prober; the reply repeats it
	Seq        uint64 // counts probes from 0; the reply repeats it
	SentNs     int64  // CLOCK_MONOTONIC of the prober in nanoseconds; the reply repeats it
	ReceivedNs int64  // CLOCK_MONOTONIC of the responder in nanoseconds; 0 in a request

	site    [MaxSite]byte
	siteLen uint8
}

// Site returns the name of the site that answered; empty in a request.
func (p *Packet) Site() string { return string(p.siteBytes()) }

func (p *Packet) siteBytes() []byte { return p.site[:p.siteLen] }

// SetSite sets the name of the answering site: 1 to MaxSite printable ASCII characters without spaces.
func (p *Packet) SetSite(name string) error {
	if len(name) > MaxSite || !validSite([]byte(name)) {
		return errSiteBytes
	}
	p.site = [MaxSite]byte{}
	p.siteLen = uint8(copy(p.site[:], name))
	return nil
}

// validSite keeps what terminals and tables would choke on out of site names.
func validSite(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(name) > 0
}

// AppendBinary appends the packet's Size bytes to b. The error is always nil.
func (p *Packet) AppendBinary(b []byte) ([]byte, error) {
	be := binary.BigEndian
	b = be.AppendUint32(b, magic)
	b = append(b, version, byte(p.Kind), p.siteLen, 0)
	b = be.AppendUint64(b, p.Run)
	b = be.AppendUint64(b, p.Seq)
	b = be.AppendUint64(b, uint64(p.SentNs))
	b = be.AppendUint64(b, uint64(p.ReceivedNs))
	return append(b, p.site[:]...), nil
}

// UnmarshalBinary reads a packet of exactly Size bytes. It accepts only what AppendBinary writes of a request, or of
// a reply with a site; p is unspecified after an error.
func (p *Packet) UnmarshalBinary(data []byte) error {
	if err := checkHead(data); err != nil {
		return err
	}
	be := binary.BigEndian
	p.Kind = Kind(data[atKind])
	p.Run = be.Uint64(data[atRun:])
	p.Seq = be.Uint64(data[atSeq:])
	p.SentNs = int64(be.Uint64(data[atSent:]))
	p.ReceivedNs = int64(be.Uint64(data[atReceived:]))
	p.siteLen = data[atSiteLen]
	copy(p.site[:], data[atSite:])
	return p.check()
}

func checkHead(data []byte) error {
	switch {
	case len(data) != Size:
		return errSize
	case binary.BigEndian.Uint32(data) != magic:
		return errMagic
	case data[atVersion] != version:
		return errVersion
	case data[atReserved] != 0:
		return errReserved
	case data[atSiteLen] > MaxSite:
		return errSiteBytes
	}
	return nil
}

func (p *Packet) check() error {
	for _, c := range p.site[p.siteLen:] {
		if c != 0 {
			return errReserved
		}
	}
	switch p.Kind {
	case KindRequest:
		if p.siteLen != 0 || p.ReceivedNs != 0 {
			return errRequest
		}
	case KindReply:
		if !validSite(p.siteBytes()) {
			return errSiteBytes
		}
	default:
		return errKind
	}
	return nil
}
