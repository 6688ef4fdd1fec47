"""The picture world: people, animals and things in places, with exact attributes and captions.

`words` names all there is; `drawings` and `people` hold who drew it; `grounds` are the places.
`attributes` decides what a picture shows and what mini never sees, `captions` says it in English
and Japanese, `render` paints it, `characters` draws one subject several times to learn it from.
"""
