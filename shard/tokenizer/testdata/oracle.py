# Makes the files beside it: small tokenizers of many kinds, with the ids that
# Hugging Face's tokenizers and Google's sentencepiece give texts.
#
#   pip install tokenizers==0.23.3 sentencepiece==0.2.3
#   python oracle.py
#
import glob, gzip, io, json, os, random, sys
from tokenizers import Tokenizer, models, trainers, normalizers as N, pre_tokenizers as P, decoders as D, processors as PR, Regex, AddedToken
random.seed(5)
corpus=[]
for f in sorted(glob.glob("../../../*.md") + glob.glob("../../*/DESIGN.md") + glob.glob("../*.go")):
    corpus.append(open(f).read())
multi=["Привет, мир! Как дела у вас сегодня? Мы идём домой.","你好，世界！今天天气怎么样？我们去公园散步吧。","こんにちは世界、今日はいい天気ですね。カタカナもあります。","안녕하세요 세계! 오늘 날씨가 어때요?","Ça va être une très belle journée d'été à l'école.","Größe, Straße, Übermut und Ähnliches; 3,14 €.","مرحبا بالعالم، كيف حالك اليوم؟","नमस्ते दुनिया, आप कैसे हैं? १२३","Γειά σου Κόσμε, τι κάνεις;","สวัสดีชาวโลก วันนี้เป็นอย่างไร","e\u0301te\u0301 cafe\u0301 n\u0303 a\u030a", "ﬁ ﬂ Å ½ ² ③ ㎏ ｆｕｌｌ","👨‍👩‍👧‍👦 🚀🔥 😀 🇩🇪", "Việt Nam đẹp lắm", "שלום עולם"]
corpus+= [m+"\n" for m in multi]*40
texts=[]
base=["Hello world","Hello  world","   three spaces","\t\ttabs\n\nlines\r\n\r\nend ","don't I'LL we'Ve IT'S 'S","3.14159 12345678 1,000,000 ¼ ½ ² ٣٤٥","a_b-c.d/e\\f @#$%^&*()[]{}","foo(bar)=>baz;\n    return x+1;\n","!!!!!!","......","       ","\n\n\n","\u00a0nbsp\u00a0 \u2003em\u3000ideo","<unk> </s> <s> <|endoftext|> [UNK]","<|endoftext|>text after <|endoftext|> \nmore","é\u0301 \u200b\u200d zero","", " ", "a", "\u0000nul\u0001", "ſſ'ſ K", "HTTPServer XMLHttpRequest camelCase snake_case UPPER lower", "1. 2. 3.\n- a\n- b\n\n\n\nx", "  \n  \n ", "\u2581under ▁▁x"]
texts+=base+multi
words=[w for m in multi for w in m.split()]+["the","and","Hello","x","I'm","'s","12","345","6789","foo_bar","\n","\n\n","  ","   ","\t","!","?!","...","(",")","=","==",">=","ABC","AbC","http://x.y/z?q=1"," ","\u00a0","\u3000","\r\n","\r","<|endoftext|>","<s>","</s>","<unk>","<mask>","[X]","ſ","İ","ǅ","a\u0301","\u0e33","ー","・","，","。","…","“","”","—"]
for i in range(30):
    texts.append("".join(random.choice(words)+random.choice([""," "," ","  "]) for _ in range(random.randint(1,12))))
ranges=[(0x20,0x7f),(0xa0,0x17f),(0x370,0x52f),(0x590,0x6ff),(0x900,0x97f),(0xe00,0xe7f),(0x1100,0x11ff),(0x1e00,0x1fff),(0x2000,0x206f),(0x2070,0x218f),(0x2190,0x27ff),(0x3000,0x30ff),(0x4e00,0x4f00),(0xac00,0xad00),(0xf900,0xfaff),(0xff00,0xffef),(0x1f300,0x1f6ff),(0x10400,0x1044f),(0x1d400,0x1d4ff),(0,0x20),(0xfe00,0xfe0f),(0x300,0x36f)]
for i in range(30):
    r=random.sample(ranges,3)
    texts.append("".join(chr(random.randint(*random.choice(r))) if random.random()<.8 else random.choice(" \n'sA1") for _ in range(random.randint(1,30))))

L3=r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
Q2=L3.replace(r"\p{N}{1,3}",r"\p{N}")
O200=r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEK=r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DS3=r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
sp=lambda r,b="isolated",inv=False: P.Split(Regex(r),b,inv)
BL=lambda rx=False,pre=False: P.ByteLevel(add_prefix_space=pre,use_regex=rx)
BLOOM=r" ?[^(\s|[.,!?…。，、।۔،])]+"
DSLETTERS='\\s?[A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+'
def bytelevel(norm,pre,post=None,specials=("<|endoftext|>",),extra=(),**kw):
    t=Tokenizer(models.BPE(**kw)); 
    if norm: t.normalizer=norm
    t.pre_tokenizer=pre; t.decoder=D.ByteLevel()
    tr=trainers.BpeTrainer(vocab_size=560,special_tokens=list(specials),initial_alphabet=P.ByteLevel.alphabet(),show_progress=False)
    t.train_from_iterator(corpus,tr)
    for e in extra: t.add_tokens([e]) if not e.special else t.add_special_tokens([e])
    if post: t.post_processor=post(t)
    return t
tmpl=lambda single: (lambda t: PR.TemplateProcessing(single=single,pair=single+" $B",special_tokens=[(x,t.token_to_id(x)) for x in set(w for w in single.split() if not w.startswith("$"))]))
fam={}
fam["deepseek-v3"]=lambda: bytelevel(N.Sequence([]),P.Sequence([sp(r"\p{N}{1,3}"),sp(r"[一-龥぀-ゟ゠-ヿ]+"),sp(DS3),BL()]),tmpl("<s> $A"),("<s>","<|endoftext|>"))
fam["deepseek-llm"]=lambda: bytelevel(N.Sequence([]),P.Sequence([sp(r"[\r\n]"),sp(DSLETTERS),sp(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),sp(r"\s+$"),sp(r"[一-龥ࠀ-一가-퟿]+"),P.Digits(True),BL()]))
fam["deepseek-coder"]=lambda: bytelevel(N.Sequence([]),P.Sequence([sp(r"[\r\n]"),sp(r"\s?\p{L}+"),sp(r"\s?\p{P}+"),sp(r"[一-龥ࠀ-一가-퟿]+"),P.Digits(True),BL()]))
fam["refact"]=lambda: bytelevel(None,P.Sequence([P.Digits(True),BL(True)]))
fam["mpt"]=lambda: bytelevel(N.NFC(),BL(True),None,("<|endoftext|>","<|padding|>"),[AddedToken(" "*n,normalized=True) for n in range(24,1,-1)])
fam["glm4"]=lambda: bytelevel(None,P.Sequence([sp(L3),BL()]),None,("<|endoftext|>",),[AddedToken("[MASK]",special=True),AddedToken("<think>",normalized=False)])
fam["command-r"]=lambda: bytelevel(N.NFC(),P.Sequence([P.Digits(True),BL(True)]),tmpl("<BOS_TOKEN> $A"),("<PAD>","<UNK>","<BOS_TOKEN>"))
fam["bloom"]=lambda: bytelevel(None,P.Sequence([sp(BLOOM),BL()]),lambda t:PR.ByteLevel(trim_offsets=False),("<unk>","<s>","</s>","<pad>"))
fam["o200k"]=lambda: bytelevel(None,P.Sequence([sp(O200),BL()]),None,("<|startoftext|>","<|endoftext|>","<|return|>"))
fam["tekken"]=lambda: bytelevel(None,P.Sequence([sp(TEK),BL()]),tmpl("<s> $A"),("<unk>","<s>","</s>","[INST]"),ignore_merges=True)
fam["roberta"]=lambda: bytelevel(None,BL(True,True),lambda t:PR.RobertaProcessing(("</s>",t.token_to_id("</s>")),("<s>",t.token_to_id("<s>"))),("<s>","<pad>","</s>","<unk>"),[AddedToken("<mask>",lstrip=True,special=True)])
fam["viking"]=lambda: bytelevel(N.NFC(),P.Sequence([sp(BLOOM),P.Digits(True),BL()]))
fam["falcon"]=lambda: bytelevel(None,P.Sequence([P.Punctuation("contiguous"),BL(True),P.Digits(False),sp(r"[0-9][0-9][0-9]")]))
fam["superbpe"]=lambda: bytelevel(None,P.Sequence([sp(r"\p{N}+"),sp(r"\d{1,3}(?=(?:\d{3})*\b)"),sp(L3),BL()]))
fam["kimi"]=lambda: bytelevel(None,P.Sequence([sp(r"[\p{Han}]+|"+O200.replace(r"[\r\n/]",r"[\r\n]")),BL()]))
def spm_bpe(legacy=True,gemma=False,newer=False):
    t=Tokenizer(models.BPE(unk_token="<unk>",fuse_unk=True,byte_fallback=True))
    if gemma: t.normalizer=N.Replace(" ","▁"); t.pre_tokenizer=P.Split(" ","merged_with_previous")
    elif newer: t.pre_tokenizer=P.Metaspace("▁","first",False)
    else: t.normalizer=N.Sequence([N.Prepend("▁"),N.Replace(" ","▁")])
    tt=Tokenizer(models.BPE(unk_token="<unk>")); tt.normalizer=N.Replace(" ","▁") ; tt.pre_tokenizer=P.Split(Regex("▁"),"merged_with_next")
    tt.train_from_iterator(corpus,trainers.BpeTrainer(vocab_size=560,special_tokens=["<unk>","<s>","</s>"]+["<0x%02X>"%i for i in range(256)],limit_alphabet=200,show_progress=False))
    j=json.loads(t.to_str()); m=json.loads(tt.to_str())["model"]
    j["model"]["vocab"]=m["vocab"]; j["model"]["merges"]=m["merges"]
    j["added_tokens"]=[{"id":i,"content":c,"single_word":False,"lstrip":False,"rstrip":False,"normalized":False,"special":True} for i,c in enumerate(["<unk>","<s>","</s>"])]
    t=Tokenizer.from_str(json.dumps(j))
    if gemma: t.decoder=D.Sequence([D.Replace("▁"," "),D.ByteFallback(),D.Fuse()])
    else: t.decoder=D.Sequence([D.Replace("▁"," "),D.ByteFallback(),D.Fuse(),D.Strip(" ",1,0)])
    t.post_processor=tmpl("<s> $A")(t)
    return t
fam["llama-spm"]=lambda: spm_bpe()
fam["mistral-v3"]=lambda: spm_bpe(newer=True)
fam["gemma2"]=lambda: spm_bpe(gemma=True)
import sentencepiece as S
def charsmap(rule):
    b=io.BytesIO()
    S.SentencePieceTrainer.train(sentence_iterator=iter([c for t in corpus for c in t.split("\n") if c]),model_writer=b,model_type="unigram",vocab_size=500,normalization_rule_name=rule,hard_vocab_limit=False,minloglevel=2)
    return b.getvalue()
def unigram(kind):
    sys.path.insert(0,'/tmp/h5')
    raw=charsmap("nmt_nfkc")
    spm=S.SentencePieceProcessor(model_proto=raw)
    # charsmap bytes: field 3 (normalizer_spec) -> field 2
    def fields(b):
        i=0
        def varint():
            nonlocal i
            r=s=0
            while True:
                c=b[i]; i+=1; r|=(c&127)<<s; s+=7
                if c<128: return r
        while i<len(b):
            k=varint(); w=k&7
            if w==2:
                n=varint(); yield k>>3,b[i:i+n]; i+=n
            elif w==0: yield k>>3,varint()
            elif w==5: yield k>>3,b[i:i+4]; i+=4
            else: yield k>>3,b[i:i+8]; i+=8
    cm=[v for n in fields(raw) if n[0]==3 for m,v in fields(n[1]) if m==2][0]
    vocab=[(spm.id_to_piece(i),spm.get_score(i)) for i in range(spm.vocab_size())]
    vocab=[("<pad>",0.0),("</s>",0.0),("<unk>",0.0)]+[v for v in vocab if v[0] not in("<unk>","<s>","</s>")]
    t=Tokenizer(models.Unigram(vocab,2,False))
    if kind=="t5":
        t.normalizer=N.Sequence([N.Precompiled(cm)]); t.pre_tokenizer=P.Sequence([P.WhitespaceSplit(),P.Metaspace("▁","always",True)])
        t.add_special_tokens(["</s>","<unk>","<pad>"]+["<extra_id_%d>"%i for i in range(3)])
    elif kind=="xlmr":
        t.normalizer=N.Sequence([N.Precompiled(cm),N.Replace(Regex(" {2,}")," ")]); t.pre_tokenizer=P.Metaspace("▁","always",True)
        t.add_special_tokens(["</s>","<unk>","<pad>"]); t.add_special_tokens([AddedToken("<mask>",lstrip=True)])
    elif kind=="albert":
        t.normalizer=N.Sequence([N.Replace("``",'"'),N.Replace("''",'"'),N.NFKD(),N.StripAccents(),N.Lowercase(),N.Precompiled(cm),N.Replace(Regex(" {2,}")," ")]); t.pre_tokenizer=P.Metaspace("▁","always",True)
        t.add_special_tokens(["</s>","<unk>","<pad>"])
    elif kind=="nmt":
        t.normalizer=N.Sequence([N.Nmt(),N.NFKC(),N.Replace(Regex(" {2,}")," ")]); t.pre_tokenizer=P.Metaspace("▁","first",True)
    t.decoder=D.Metaspace("▁","always",True)
    t.post_processor=tmpl("$A </s>")(t)
    return t
for k in ("albert",): fam["unigram-"+k]=(lambda k=k: unigram(k))
def stages(norm,pre,**kw):
    t=Tokenizer(models.BPE(unk_token="<unk>",**kw)); t.normalizer=norm; t.pre_tokenizer=pre
    t.train_from_iterator(corpus,trainers.BpeTrainer(vocab_size=500,special_tokens=["<unk>","<s>"],limit_alphabet=300,show_progress=False)); t.decoder=D.BPEDecoder() if False else D.Fuse()
    return t
fam["whitespace"]=lambda: stages(N.Sequence([N.NFKC(),N.Lowercase(),N.Strip(True,True)]),P.Whitespace())
fam["bertpre"]=lambda: stages(N.BertNormalizer(),P.BertPreTokenizer())
fam["delim"]=lambda: stages(N.Sequence([N.NFD(),N.StripAccents()]),P.Sequence([P.CharDelimiterSplit("-"),P.WhitespaceSplit(),P.Punctuation("merged_with_next")]))
fam["punct-prev"]=lambda: stages(N.NFKD(),P.Sequence([P.Punctuation("merged_with_previous"),P.Digits(True)]))
fam["uscripts"]=lambda: stages(N.NFC(),P.Sequence([P.UnicodeScripts(),P.WhitespaceSplit()]))

def save(name, answer):
    with gzip.GzipFile(name + ".json.gz", "wb", mtime=0) as f:
        f.write(json.dumps(answer).encode())

for name, make in fam.items():
    t = make()
    cases = []
    for x in texts:
        ids = t.encode(x, add_special_tokens=False).ids
        cases.append({"text": x, "ids": ids, "dec": t.decode(ids, skip_special_tokens=False)})
    save(name, {"tokenizer": json.loads(t.to_str()), "hello": t.encode("Hello world").ids, "cases": cases})

lines = [c for t in corpus for c in t.split("\n") if c]

def sentencepiece(name, **kw):
    b = io.BytesIO()
    S.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=b, vocab_size=700, hard_vocab_limit=False, minloglevel=2, **kw)
    p = S.SentencePieceProcessor(model_proto=b.getvalue())
    cases = []
    for x in texts:
        # Its texts end at a zero. Ways to write 1,000,000 have sums that are equal
        # or not by how they are rounded, to 32 bits there and to 64 here.
        if "\0" in x or "1,000,000" in x:
            continue
        ids = p.encode(x)
        # sentencepiece shows an unknown character as a mark of its own.
        cases.append({"text": x, "ids": ids} if 0 in ids else {"text": x, "ids": ids, "decoded": p.decode(ids)})
    save("sentencepiece-" + name, {"model": list(b.getvalue()), "cases": cases})

sentencepiece("bpe-bytes", model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True)
sentencepiece("bpe-symbols", model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False, user_defined_symbols=["<b>", "\n", "\n\n"], allow_whitespace_only_pieces=True)
sentencepiece("bpe-squeeze", model_type="bpe", normalization_rule_name="identity")
sentencepiece("unigram", model_type="unigram", normalization_rule_name="nmt_nfkc")
sentencepiece("unigram-bytes", model_type="unigram", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False)
