package config

// places tells where a value stood first.
type places[T comparable] map[T]item

// once reports a value that stands in the file a second time. The zero value is one that was reported already.
func (p places[T]) once(it item, value T) {
	var none T
	if value == none || !it.present() {
		return
	}
	if first, ok := p[value]; ok {
		it.bad("duplicate %v: already in %s on line %d", value, first.path, first.line())
		return
	}
	p[value] = it
}
