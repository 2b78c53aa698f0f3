package chat

// filter is a filter: v is what stands before the |, c the arguments.
type filter func(v any, c *callArgs) any

// filters are Jinja's filters that make sense for text, and transformers'
// tojson.
var filters = map[string]filter{
	"tojson": toJSON,

	// text (filtertext.go)
	"string": soft, "safe": safe, "escape": escape, "e": escape, "forceescape": forceEscape,
	"trim":       trimFilter,
	"upper":      textFilter(upper),
	"lower":      textFilter(lower),
	"capitalize": textFilter(capitalize),
	"title":      titleFilter,
	"replace":    replaceFilter,
	"indent":     indent, "truncate": truncate, "wordcount": wordCount, "wordwrap": wordWrap,
	"center": center, "format": formatFilter, "striptags": stripTags, "urlencode": urlEncode,
	"pprint": func(v any, c *callArgs) any { return c.r.repr(v) },

	// sequences (filterseq.go)
	"length": lengthFilter, "count": lengthFilter,
	"join": joinFilter, "list": listFilter, "items": itemsFilter,
	"first": first, "last": last, "reverse": reverse,
	"map": mapFilter, "select": selectBy(false, true), "reject": selectBy(false, false),
	"selectattr": selectBy(true, true), "rejectattr": selectBy(true, false),
	"sort": sortFilter, "dictsort": dictSort, "unique": unique, "groupby": groupBy,
	"batch": batch, "slice": sliceFilter, "min": extreme(-1), "max": extreme(1), "sum": sum,

	// numbers and the rest (filternum.go)
	"int": toInt, "float": toFloat, "abs": abs, "round": round,
	"default": defaultFilter, "d": defaultFilter,
	"attr": attrFilter, "filesizeformat": fileSize,
}
