package probe

import "encoding/hex"

const (
	// maxSites bounds the memory that answers can claim by inventing names.
	maxSites = 64
	// otherSites stands for all sites beyond maxSites.
	otherSites = "(other)"
	// noSite stands for the site of a DNS answer without NSID.
	noSite = "unknown"
	// maxNSID bounds the name of a site that tells it by NSID, in bytes.
	maxNSID = 64
)

// sites numbers the names of sites in the order of their appearance and counts their answers.
type sites struct {
	index map[string]int
	list  []*siteCount
}

// A siteCount is what is known of one site.
type siteCount struct {
	name     string
	received int
	rtt      histogram
}

// id returns the number of a site.
func (s *sites) id(name []byte) int {
	if i, ok := s.index[string(name)]; ok {
		return i
	}
	text := string(name)
	if len(s.list) >= maxSites {
		text = otherSites
		if i, ok := s.index[text]; ok {
			return i
		}
	}
	if s.index == nil {
		s.index = map[string]int{}
	}
	s.index[text] = len(s.list)
	s.list = append(s.list, &siteCount{name: text})
	return s.index[text]
}

// nsidSite returns the site that an NSID (RFC 5001) names: the text as it is where it is a site name, else in hex.
func nsidSite(nsid []byte) string {
	switch {
	case len(nsid) == 0:
		return noSite
	case len(nsid) <= maxNSID && validSite(nsid):
		return string(nsid)
	default:
		return hex.EncodeToString(nsid[:min(len(nsid), maxNSID/2)])
	}
}
