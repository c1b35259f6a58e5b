import time

from core.text.corpora import shakespeare, text_hash


def test_the_shakespeare_text_equals_that_of_earlier_versions():
    text = shakespeare()
    assert text_hash(text) == "8eef9deaa0ffcd4eee93ec37894f9128dc642636aa3e730c67c58e22fb7248e7"
    assert len(text) == 4_668_438 and text.isascii()
    assert text.startswith("THESEUS:\nNow, fair Hippolyta, our nuptial hour\nDraws on apace; four happy days")
    assert "\n\nHAMLET:\nTo be, or not to be: that is the question:\nWhether 'tis nobler in the mind" in text


def test_loading_shakespeare_takes_less_than_a_second():
    start = time.process_time()
    shakespeare()
    assert time.process_time() - start < 1  # about 0.1 s; well above it on a busy machine
