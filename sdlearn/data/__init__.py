"""Pictures and captions: folders of pictures, the picture world, and what is cached of them."""

from sdlearn.data.buckets import bucket_table
from sdlearn.data.encoded import LazyFolder
from sdlearn.data.folder import Picture, read_pictures, to_pixel_values, write_pictures
from sdlearn.data.png import read_generated, save_generated
from sdlearn.data.streams import PictureStream, stream_archives, stream_dataset
