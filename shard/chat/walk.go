package chat

// MapTexts returns a copy of l with f applied to every text in it, keys
// included, at any depth. Of l's own items it keeps those as they are for which
// skip, if set, says so.
func (l *List) MapTexts(f func(string) string, skip func(item any) bool) *List {
	if l == nil {
		return nil
	}
	out := &List{items: make([]any, len(l.items)), kind: l.kind, names: l.names}
	for i, x := range l.items {
		if skip == nil || !skip(x) {
			x = mapTexts(x, f)
		}
		out.items[i] = x
	}
	return out
}

func mapTexts(v any, f func(string) string) any {
	switch v := v.(type) {
	case string:
		return f(v)
	case *List:
		return v.MapTexts(f, nil)
	case *Dict:
		out := &Dict{}
		for i, k := range v.keys {
			key := mapTexts(k, f)
			out.put(key, key, mapTexts(v.values[i], f))
		}
		return out
	}
	return v
}
